import FlowCore
import FlowTestKit
import Testing

#if canImport(Glibc)
import Glibc
#endif

/// `kill -9` of a hub at every step of an import. A hub that runs afterwards completes or removes the import.
@Suite(.serialized, .s3(), .postgres()) struct ImportKillTests {
    // MARK: At a step

    /// The failpoints that a sweep also reaches come first, while there is nothing to sweep.
    private static let failpoints = [
        "importAnnounced", "importObjectGone", "importBegun", "importUploaded", "importStored", "importDeleting",
    ]

    @Test func recoversFromKillAtEveryStep() async {
        await concurrently(ImportHubFixture.Kind.allCases, self.recoversFromKillAtEveryStep(_:))
    }

    private func recoversFromKillAtEveryStep(_ kind: ImportHubFixture.Kind) async throws {
        try await ImportHubFixture.running(kind) { fixture in
            for failpoint in Self.failpoints {
                var deleted: String?
                if ["importObjectGone", "importDeleting"].contains(failpoint) {
                    let stored = try await fixture.hub.uploadImport(.small, flow: failpoint)
                    deleted = try #require(stored.json.member("id")?.stringValue, "\(stored.text)")
                }
                try await fixture.withKilledHub(["FLOWHUB_FAILPOINT": failpoint]) { [deleted] hub in
                    await #expect(throws: AnswerLost.self) {
                        if let deleted { return try await hub.call("DELETE", "/v1/imports/\(deleted)") }
                        return try await hub.uploadImport(.small, flow: failpoint, key: failpoint)
                    }
                    let exit = try await hub.waitForExit()
                    #expect(exit == .signal(SIGKILL))
                }
            }
            try await fixture.settle()
            let samples = Dictionary(uniqueKeysWithValues: Self.failpoints.map { ($0, ImportSample.small) })
            try await fixture.expectConsistent(samples)
            #expect(
                try await fixture.ledger().map { "\($0.flow) \($0.status)" } == [
                    "importAnnounced stored", "importBegun failed", "importUploaded failed", "importStored stored",
                ])
            // The flow of a deleted import has only the earlier event `import_stored`.
            for flow in ["importObjectGone", "importDeleting"] {
                let types = try await fixture.hub.api.history(of: flow)?.events.compactMap { $0.member("type")?.stringValue }
                #expect(types == ["import_stored"])
            }
            try await fixture.expectKeys(
                ["importAnnounced": 200, "importBegun": 201, "importUploaded": 201, "importStored": 200])
            try await fixture.expectConsistent(samples)
            try await fixture.expectNothingToSweep()
        }
    }

    // MARK: During a request to R2

    @Test func recoversFromKillDuringR2Request() async throws {
        try await ImportHubFixture.running(.r2) { fixture in
            var statuses: [String: Int] = [:]
            var samples: [String: ImportSample] = [:]
            for sample in [ImportSample.small, .large] {
                let faultPoints = try await ImportFaultTests.faultPoints(fixture, sample)
                samples["clean-\(sample.records)"] = sample
                let first = Bool.random()
                for (number, faultPoint) in faultPoints.enumerated() {
                    let both = TestScale.isFull || sample.records == ImportSample.small.records
                    for isApplied in both ? [false, true] : [first == (number % 2 == 0)] {
                        let flow = "\(faultPoint.operation)-\(faultPoint.number)-\(isApplied)"
                        samples[flow] = sample
                        statuses[flow] = 201
                        try await Self.kill(at: faultPoint, isApplied, sample, flow, fixture)
                    }
                }
            }
            try await fixture.settle()
            try await fixture.expectConsistent(samples)
            let interrupted = try await fixture.ledger().filter { !$0.flow.hasPrefix("clean") }
            #expect(interrupted.map(\.status) == Array(repeating: "failed", count: statuses.count))
            // The small sample suffices for this check.
            try await fixture.expectKeys(statuses)
            try await fixture.expectNothingToSweep()
        }
    }

    private static func kill(
        at faultPoint: ImportFaultTests.FaultPoint, _ isApplied: Bool, _ sample: ImportSample, _ flow: String,
        _ fixture: ImportHubFixture
    ) async throws {
        let proxy = try fixture.proxy
        proxy.forget()
        proxy.inject(.stall(isApplied: isApplied), on: faultPoint.operation, skipping: faultPoint.number)
        try await fixture.withKilledHub { hub in
            async let answer = try? await hub.uploadImport(sample, flow: flow, key: flow)
            try await proxy.wait(for: "the request", within: .seconds(60)) { requests in
                requests.contains { $0.fault != nil && (!isApplied || $0.serverStatus != nil) }
            }
            try await hub.kill()
            #expect(await answer == nil)
        }
        proxy.clearFaults()
        proxy.release()
    }

    // MARK: During the upload body

    @Test func recoversFromKillDuringUploadBody() async {
        await concurrently(ImportHubFixture.Kind.allCases, self.recoversFromKillDuringUploadBody(_:))
    }

    private func recoversFromKillDuringUploadBody(_ kind: ImportHubFixture.Kind) async throws {
        try await ImportHubFixture.running(kind) { fixture in
            try await fixture.withKilledHub { hub in
                let upload = try await HalfUpload.begin(.large, flow: "job", key: "k", at: hub, fixture)
                try await hub.kill()
                try await upload.exchange.waitUntilClosed()
                #expect(upload.exchange.received.isEmpty)
            }
            try await fixture.settle()
            #expect(try await fixture.ledger().map(\.status) == ["failed"])
            try await fixture.expectConsistent()
            try await fixture.expectKeys(["k": 201], flow: "job")
            try await fixture.expectConsistent()
            try await fixture.expectNothingToSweep()
        }
    }

    // MARK: At any time

    private struct Work: Sendable {
        var acknowledged: Set<String> = []
        var lost: Set<String> = []
    }

    @Test func acknowledgedImportsSurviveKillAtAnyTime() async {
        await concurrently(ImportHubFixture.Kind.allCases, self.acknowledgedImportsSurviveKillAtAnyTime(_:))
    }

    private func acknowledgedImportsSurviveKillAtAnyTime(_ kind: ImportHubFixture.Kind) async throws {
        try await ImportHubFixture.running(kind, ["FLOWHUB_MAX_IMPORTS": "8"]) { fixture in
            let work = AsyncValue(Work())
            for round in 0..<TestScale.pick(3, full: 25) {
                let enough = work.value.acknowledged.count + Int.random(in: 1...8)
                try await fixture.withKilledHub { hub in
                    await withTaskGroup(of: Void.self) { tasks in
                        for writer in 0..<3 {
                            tasks.addTask { await Self.uploadUntilKilled("\(round)-\(writer)", hub, work) }
                        }
                        tasks.addTask {
                            try? await work.wait(for: "some imports", within: .seconds(60)) {
                                $0.acknowledged.count >= enough ? () : nil
                            }
                            try? await Task.sleep(for: .milliseconds(Int.random(in: 0...60)))
                            try? await hub.kill()
                        }
                    }
                    #expect(!hub.isRunning)
                }
            }
            try await fixture.settle()
            let samples = ["job": ImportSample.small]
            try await fixture.expectConsistent(samples)
            let done = work.value
            let stored = Set(try await fixture.ledger().filter { $0.status == "stored" }.map(\.key))
            #expect(done.acknowledged.subtracting(stored).isEmpty)
            #expect(!done.lost.isEmpty)
            for key in done.lost { try await fixture.expectKeys([key: stored.contains(key) ? 200 : 201], flow: "job") }
            try await fixture.expectConsistent(samples)
            try await fixture.expectNothingToSweep()
        }
    }

    private static func uploadUntilKilled(_ name: String, _ hub: HubProcess, _ work: AsyncValue<Work>) async {
        for number in 0..<10_000 {
            let key = "\(name)-\(number)"
            guard let reply = try? await hub.uploadImport(.small, flow: "job", key: key), reply.status == 201 else {
                return work.change { $0.lost.insert(key) }
            }
            work.change { $0.acknowledged.insert(key) }
        }
    }
}

extension ImportHubFixture {
    /// Uploads the small sample with idempotency keys that were used at killed hubs. A key is free, or its import is stored.
    /// - Parameters:
    ///   - statuses: the expected status for each key: 201 if it is free, 200 if its import is stored.
    ///   - flow: the flow of the imports; `nil`: each key is also the flow id.
    func expectKeys(_ statuses: [String: Int], flow: String? = nil) async throws {
        for (key, status) in statuses {
            let reply = try await self.hub.uploadImport(.small, flow: flow ?? key, key: key)
            #expect(reply.status == status, "\(key): \(reply.status) \(reply.text)")
            #expect((reply.header("idempotency-replayed") == "true") == (status == 200), "\(key)")
            let again = try await self.hub.uploadImport(.small, flow: flow ?? key, key: key)
            #expect(again.status == 200 && again.json.member("id") == reply.json.member("id"), "\(key)")
        }
        let stored = try await self.ledger().filter { $0.status == "stored" }
        for key in statuses.keys { #expect(stored.filter { $0.key == key }.count == 1, "\(key)") }
    }
}
