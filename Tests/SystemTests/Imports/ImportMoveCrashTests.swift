import FlowCore
import FlowTestKit
import Glibc
import Testing

extension ImportSystemTests {
    /// A mover that is killed at any point does no damage, and the next one completes its work.
    @Suite struct ImportMoveCrashTests {
        /// Expects that the import is unchanged and that `imports verify` finds nothing.
        private static func expectWhole(
            _ cluster: ImportClusterFixture, _ entry: StoredImport, _ records: [String], _ context: String
        )
            async throws
        {
            #expect(try await cluster.hub.get(entry.id, "/data").body == ImportOracle.document(records), "\(context)")
            let verified = try await cluster.hub.command(["imports", "verify"])
            #expect(verified.exit == .code(0), "\(context): \(verified)")
        }

        /// Completes a killed move, and expects that it has left nothing behind.
        private static func finish(
            _ cluster: ImportClusterFixture, to target: String, _ entry: StoredImport, _ records: [String], _ context: String
        ) async throws {
            try await Self.expectWhole(cluster, entry, records, context)
            try await cluster.expireClaims()
            let again = try await cluster.hub.command(["imports", "move", "--to", target])
            #expect(again.exit == .code(0), "\(context): \(again)")
            let now = try #require(StoredImport(try await cluster.hub.get(entry.id).json))
            #expect(now.contentHash == entry.contentHash && now.total == records.count, "\(context)")
            #expect((now.location == nil) == (target == "postgres"), "\(context)")
            // The S3 server rounds times up to whole seconds, so new objects are not old enough at first.
            try await eventually("the leftovers to be swept: \(context)") {
                let sweep = try await cluster.hub.command(["imports", "sweep", "--older-than", "0s"])
                #expect(sweep.exit == .code(0), "\(context): \(sweep)")
                let uploads = try await cluster.uploads()
                let keys = try await cluster.keys()
                return uploads == 0 && keys == [now.location].compactMap { $0 }
            }
            #expect(try await cluster.rowCount() == (target == "postgres" ? records.count : min(10, records.count)), "\(context)")
            try await Self.expectWhole(cluster, entry, records, context)
        }

        /// Both topologies at the same time.
        @Test func moveRecoversFromKillAtEveryStep() async throws {
            try await withThrowingDiscardingTaskGroup { tasks in
                for topology in ImportTopology.withObjects { tasks.addTask { try await Self.killAtEveryStep(topology) } }
            }
        }

        private static func killAtEveryStep(_ topology: ImportTopology) async throws {
            let records = ImportOracle.records(2_500)
            try await ImportClusterFixture.running(topology) { cluster in
                let entry = try await cluster.hub.store(TestUpload(records.joined(separator: "\n")))
                for point in [Failpoint.moveCopied, .moveVerified, .moveCommitted] {
                    for target in ["postgres", "r2"] {
                        let killed = try await cluster.hub.command(
                            ["imports", "move", "--to", target], adding: ["FLOWHUB_FAILPOINT": point.rawValue])
                        #expect(killed.exit == .signal(SIGKILL), "\(point) \(target): \(killed)")
                        try await Self.finish(cluster, to: target, entry, records, "\(point) \(target)")
                    }
                }
            }
        }

        /// About 5.5 MB compressed: two parts.
        private static let large = (0..<23).map { number in
            var random = SeededRandom(seed: UInt64(number))
            return "\"" + (0..<31_000).map { _ in String(random.next(), radix: 16) }.joined() + "\""
        }

        /// - Parameter phase: selects which requests are applied when the mover is killed, and which are not. The other phase
        ///   is the opposite selection.
        @Test(
            "a move in either direction recovers from a kill before or after each request",
            arguments: TestScale.pick([0], full: [0, 1]))
        func moveRecoversFromKillAtEveryRequest(_ phase: Int) async {
            // Three clusters at the same time, each with some of the requests: most of a case is waiting for a sweep.
            await concurrently(0..<3) { part in
                try await RedisServer.running { redis in
                    try await Self.killAtRequests(phase, redis) { $0 % 3 == part }
                }
            }
        }

        private static func killAtRequests(
            _ phase: Int, _ redis: RedisServer, of isTested: @escaping @Sendable (_ request: Int) -> Bool
        ) async throws {
            let records = Self.large
            try await ImportClusterFixture.running(.r2, ["FLOWHUB_R2_PART_BYTES": "5242880"], redis: redis) { cluster in
                let proxy = try cluster.proxy
                let entry = try await cluster.hub.store(TestUpload("[" + records.joined(separator: ",") + "]"))
                var operations: [String: [ProxyOperation]] = [:]
                for target in ["postgres", "r2"] {
                    proxy.forget()
                    let moved = try await cluster.hub.command(["imports", "move", "--to", target])
                    #expect(moved.exit == .code(0), "\(moved)")
                    operations[target] = proxy.requests.map(\.operation)
                }
                #expect(operations["r2"]?.contains(.uploadPart) == true && operations["r2"]?.contains(.completeUpload) == true)
                let count = max(operations["postgres"]?.count ?? 0, operations["r2"]?.count ?? 0)
                for number in (0..<count).filter(isTested) {
                    for target in ["postgres", "r2"] {
                        guard number < operations[target]?.count ?? 0 else {
                            #expect(try await cluster.hub.command(["imports", "move", "--to", target]).exit == .code(0))
                            continue
                        }
                        let isApplied = (number + (target == "r2" ? 1 : 0) + phase) % 2 == 1
                        proxy.forget()
                        proxy.inject(.stall(isApplied: isApplied), skipping: number)
                        let mover = try cluster.hub.startCommand(["imports", "move", "--to", target])
                        do {
                            try await proxy.wait(for: "request \(number)", within: .seconds(60)) {
                                $0.contains { $0.fault != nil && (!isApplied || $0.serverStatus != nil) }
                            }
                        } catch {
                            await mover.destroy()
                            throw error
                        }
                        let operation = proxy.requests.first { $0.fault != nil }?.operation
                        await mover.destroy()
                        proxy.release()
                        proxy.clearFaults()
                        try await Self.finish(
                            cluster, to: target, entry, records,
                            "\(target), request \(number), \(operation.map { "\($0)" } ?? "?"), applied: \(isApplied)")
                    }
                }
            }
        }
    }
}
