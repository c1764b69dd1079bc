import FlowCore
import FlowTestKit
import Testing

/// Tests of a paused hub whose claim expires, and of hubs that get the same import at the same time.
@Suite(.serialized, .s3(), .postgres()) struct ImportTakeoverTests {
    private static let shared = [ImportHubFixture.Kind.r2, .rows]

    /// Waits until the import of a paused hub was swept: it has failed, its event was published, and no data remains.
    private static func expectSwept(_ fixture: ImportHubFixture, flow: String) async throws {
        try await fixture.settle()
        #expect(try await fixture.ledger().filter { $0.flow == flow }.map(\.status) == ["failed"])
        try await fixture.expectConsistent()
    }

    private static func expectRejection(_ reply: HTTPReply?, _ what: Comment) {
        // The import must not be stored. Whether its client gets a response depends on the point at which the hub was paused.
        guard let reply else { return }
        #expect(reply.status == 503 && reply.problemCode == "import_taken_over", "\(what): \(reply.status) \(reply.text)")
    }

    // MARK: Paused hubs

    @Test func hubPausedDuringBodyCannotFinishSweptImport() async {
        await concurrently(Self.shared, self.hubPausedDuringBodyCannotFinishSweptImport(_:))
    }

    private func hubPausedDuringBodyCannotFinishSweptImport(_ kind: ImportHubFixture.Kind) async throws {
        try await ImportHubFixture.running(kind) { fixture in
            try await fixture.withKilledHub { hub in
                let upload = try await HalfUpload.begin(.large, flow: "job", key: "k", at: hub, fixture)
                hub.pause()
                try await Self.expectSwept(fixture, flow: "job")
                hub.resume()
                Self.expectRejection(try await upload.finish(), "\(kind)")
                // The hub works otherwise.
                let next = try await hub.uploadImport(.small, flow: "next", key: "k")
                #expect(next.status == 201, "\(next.text)")
            }
            try await fixture.settle()
            try await fixture.expectConsistent(["next": .small])
            try await fixture.expectNothingToSweep()
        }
    }

    @Test func hubPausedDuringObjectWriteCannotFinishSweptImport() async {
        let cases = [ImportSample.small, .large].flatMap { sample in [false, true].map { (sample, $0) } }
        await concurrently(cases) { sample, isApplied in
            try await self.hubPausedDuringObjectWriteCannotFinishSweptImport(sample, isApplied: isApplied)
        }
    }

    private func hubPausedDuringObjectWriteCannotFinishSweptImport(_ sample: ImportSample, isApplied: Bool) async throws {
        try await ImportHubFixture.running(.r2) { fixture in
            let proxy = try fixture.proxy
            proxy.inject(.stall(isApplied: isApplied), on: sample.records == 300 ? .putObject : .completeUpload)
            try await fixture.withKilledHub { hub in
                async let answer = hub.uploadImport(sample, flow: "job", key: "k")
                try await proxy.wait(for: "the request", within: .seconds(60)) { requests in requests.contains { $0.isStalled } }
                hub.pause()
                try await Self.expectSwept(fixture, flow: "job")
                // R2 applies the delayed request only now.
                proxy.release()
                try await proxy.wait(for: "the request to be applied") { requests in
                    requests.contains { $0.fault != nil && $0.serverStatus != nil }
                }
                hub.resume()
                Self.expectRejection(try await answer, "\(sample.records) records, \(isApplied)")
                try await fixture.expectConsistent()
            }
            try await fixture.expectKeys(["k": 201], flow: "job")
            try await fixture.expectConsistent()
            try await fixture.expectNothingToSweep()
        }
    }

    @Test func expiredClaimFreesKeyBeforeSweep() async throws {
        // The remaining hub sweeps only every 15 s, a quarter of its claim duration. The key must be free before that.
        try await ImportHubFixture.running(.r2, ["FLOWHUB_IMPORT_CLAIM_SECONDS": "60"]) { fixture in
            try await fixture.withKilledHub(["FLOWHUB_IMPORT_CLAIM_SECONDS": "4"]) { hub in
                _ = try await HalfUpload.begin(.large, flow: "job", key: "k", at: hub, fixture)
                try await hub.kill()
            }
            try await eventually("the key to be free") {
                let reply = try await fixture.hub.uploadImport(.small, flow: "job", key: "k")
                if reply.status == 201 { return true }
                #expect(reply.status == 409 && reply.problemCode == "import_in_progress", "\(reply.text)")
                return false
            }
            // The abandoned import is still in the ledger, and is swept.
            _ = try await fixture.sweepReport(isDryRun: false)
            try await fixture.settle()
            #expect(try await fixture.ledger().map(\.status).sorted() == ["failed", "stored"])
            try await fixture.expectConsistent()
        }
    }

    // MARK: Concurrent uploads

    @Test func concurrentUploadsAtTwoHubsCreateOneImport() async {
        await concurrently(Self.shared, self.concurrentUploadsAtTwoHubsCreateOneImport(_:))
    }

    private func concurrentUploadsAtTwoHubsCreateOneImport(_ kind: ImportHubFixture.Kind) async throws {
        try await ImportHubFixture.running(kind) { fixture in
            try await HubProcess.running(fixture.environment) { other in
                for round in 0..<TestScale.pick(6, full: 60) {
                    let key = "key-\(round)"
                    async let first = fixture.hub.uploadImport(.small, flow: "job", key: key)
                    async let second = other.uploadImport(.small, flow: "job", key: key)
                    let replies = try await [first, second]
                    #expect(replies.filter { $0.status == 201 }.count == 1, "\(replies.map(\.text))")
                    for reply in replies where reply.status != 201 {
                        if reply.status == 200 {
                            #expect(reply.header("idempotency-replayed") == "true")
                        } else {
                            #expect(reply.status == 409 && reply.problemCode == "import_in_progress", "\(reply.text)")
                        }
                    }
                    #expect(try await fixture.ledger().filter { $0.key == key }.map(\.status) == ["stored"])
                }
                try await fixture.settle()
                try await fixture.expectConsistent(["job": .small])
            }
        }
    }
}
