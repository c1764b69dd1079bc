import FlowCore
import FlowTestKit
import NIOCore
import Testing

extension ImportSystemTests {
    /// Tests that uploads and downloads of any size use bounded memory, with backpressure from slow clients and slow stores.
    @Suite struct ImportMemoryTests {
        /// Maximum growth in bytes over the idle hub. Of this a debug build's own pages use about 50 MiB, those of a release
        /// build 20 MiB.
        private static let growth = 72 << 20
        private static let size = TestScale.pick(128 << 20, full: 1 << 30)
        /// About 4 MiB of complete lines.
        private static let block = Array((ImportOracle.records(19_000).joined(separator: "\n") + "\n").utf8)
        private static let count = size / block.count + 1

        private static func expectBoundedMemory(_ cluster: ImportClusterFixture, _ what: String, above idle: Int) throws {
            let metrics = try #require(cluster.hub.processMetrics)
            let grown = metrics.peakResidentBytes - idle
            #expect(grown <= Self.growth, "\(what): \(idle >> 20) MiB and \(grown >> 20) MiB")
        }

        /// Waits until a number has not changed for 700 ms.
        /// - Returns: the number.
        private static func waitUntilStill(_ what: String, _ number: () -> Int) async throws -> Int {
            var last = number()
            var since = ContinuousClock.now
            try await eventually(what, within: .seconds(60)) {
                let now = number()
                if now != last { (last, since) = (now, .now) }
                return ContinuousClock.now - since > .milliseconds(700)
            }
            return last
        }

        @Test(arguments: ImportTopology.withObjects)
        func uploadAndDownloadUseBoundedMemory(_ topology: ImportTopology) async throws {
            // Small parts, so that a stalled store causes backpressure before the whole body was sent.
            try await ImportClusterFixture.running(topology, ["FLOWHUB_R2_PART_BYTES": "5242880"]) { cluster in
                let idle = try #require(cluster.hub.processMetrics).residentBytes
                let entry = try await self.upload(cluster, above: idle)
                #expect(entry.total == 19_000 * Self.count)
                try Self.expectBoundedMemory(cluster, "after the upload", above: idle)
                try await self.download(cluster, entry, above: idle)
                try Self.expectBoundedMemory(cluster, "after the download", above: idle)
                // The complete data is correct.
                let file = cluster.hub.folder.path + "/all"
                let got = try await cluster.hub.command(
                    ["import", "get", entry.id, "-o", file], adding: ["FLOWHUB_URL": "http://127.0.0.1:\(cluster.hub.port)"])
                #expect(got.exit == .code(0) && got.errors.contains("hash verified"), "\(got)")
                try Self.expectBoundedMemory(cluster, "after import get", above: idle)
            }
        }

        private func upload(_ cluster: ImportClusterFixture, above idle: Int) async throws -> StoredImport {
            let exchange = try await RawExchange.open(port: cluster.hub.port)
            defer { exchange.close() }
            if cluster.topology == .r2 { try cluster.proxy.inject(.stall(isApplied: false), on: .uploadPart, skipping: 1) }
            try await exchange.send(TestUpload([], by: .chunked).head)
            let sent = AsyncValue(0)
            let sending = Task {
                for number in 0..<Self.count {
                    try await exchange.send(TestUpload.chunk(Self.block))
                    sent.change { $0 += 1 }
                    // The client stalls.
                    if cluster.topology != .r2, number == Self.count / 2 { try await Task.sleep(for: .seconds(1)) }
                }
                try await exchange.send("0\r\n\r\n")
            }
            do {
                if cluster.topology == .r2 {
                    try await cluster.proxy.wait(for: "a part to stall", within: .seconds(120)) {
                        $0.contains { $0.fault != nil }
                    }
                    // The store accepts nothing more, so the hub stops reading.
                    let transferred = try await Self.waitUntilStill("the hub to stop reading") { sent.value }
                    #expect(transferred < Self.count, "\(transferred) of \(Self.count)")
                    try Self.expectBoundedMemory(cluster, "while the store stalls", above: idle)
                    try cluster.proxy.release()
                }
                try await sending.value
            } catch {
                sending.cancel()
                throw error
            }
            let reply = try await exchange.replies(1, within: .seconds(60))[0]
            guard let entry = StoredImport(reply.json) else { throw HubAPI.UnexpectedReply(reply: reply, what: "the import") }
            return entry
        }

        private func download(_ cluster: ImportClusterFixture, _ entry: StoredImport, above idle: Int) async throws {
            let received = AsyncValue(0)
            let isClosed = AsyncValue(false)
            let wire = try await WireConnection.open(port: cluster.hub.port) { bytes in
                received.change { $0 += bytes.readableBytes }
            } closed: { _ in
                isClosed.change { $0 = true }
            }
            defer { wire.close() }
            try await wire.write(
                Array("GET /v1/imports/\(entry.id)/data HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".utf8))
            try await received.wait(for: "some of it", within: .seconds(60)) { $0 > 16 << 20 ? () : nil }
            try await wire.stopReading()
            let transferred = try await Self.waitUntilStill("the client to stop reading") { received.value }
            let total = try #require(entry.number("original_size_bytes"))
            #expect(transferred < total)
            try Self.expectBoundedMemory(cluster, "while the client stalls", above: idle)
            try await wire.read()
            try await isClosed.wait(for: "the end", within: .seconds(120)) { $0 ? () : nil }
            #expect(received.value > total && received.value < total + 1_000)
        }

        @Test func slowStoreDoesNotGrowMemory() async throws {
            try await ImportClusterFixture.running(.r2) { cluster in
                let idle = try #require(cluster.hub.processMetrics).residentBytes
                let proxy = try cluster.proxy
                proxy.inject(.slow(bytesPerSecond: 8 << 20), on: .uploadPart, times: 1_000)
                proxy.inject(.slow(bytesPerSecond: 8 << 20), on: .getObject, times: 1_000)
                let body = (0..<10).reduce(into: [UInt8]()) { body, _ in body += Self.block }
                let entry = try await cluster.hub.store(TestUpload(body, by: .length), within: .seconds(120))
                #expect(entry.total == 190_000)
                #expect(
                    try await cluster.hub.records(entry.id, from: 150_000, limit: 3)
                        == ImportOracle.records(3, from: 150_000 % 19_000))
                try Self.expectBoundedMemory(cluster, "with a slow store", above: idle)
            }
        }
    }
}
