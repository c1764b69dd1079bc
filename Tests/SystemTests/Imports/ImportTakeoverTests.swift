import FlowCore
import FlowTestKit
import Testing

/// A hub that was taken for dead and is not, and hubs that get the same import at once.
@Suite(.serialized, .s3(), .postgres()) struct ImportTakeoverTests {
    private static let shared = [ImportHubFixture.Kind.r2, .rows]

    /// The import was swept while its hub stood still: its flow was told, and nothing is there.
    private static func expectSwept(_ fixture: ImportHubFixture, flow: String) async throws {
        try await fixture.settle()
        #expect(try await fixture.ledger().filter { $0.flow == flow }.map(\.status) == ["failed"])
        try await fixture.expectConsistent()
    }

    private static func expectRefusal(_ reply: HTTPReply?, _ what: Comment) {
        // That it was not taken in is what counts; whether it was told so depends on where it stood.
        guard let reply else { return }
        #expect(reply.status == 503 && reply.problemCode == "import_taken_over", "\(what): \(reply.status) \(reply.text)")
    }

    // MARK: Taken for dead

    @Test(arguments: shared)
    func hubPausedDuringBodyCannotFinishSweptImport(_ kind: ImportHubFixture.Kind) async throws {
        try await ImportHubFixture.running(kind) { fixture in
            try await fixture.withKilledHub { hub in
                let upload = try await HalfUpload.begin(.large, flow: "job", key: "k", at: hub, fixture)
                hub.pause()
                try await Self.expectSwept(fixture, flow: "job")
                hub.resume()
                Self.expectRefusal(try await upload.finish(), "\(kind)")
                // It is well otherwise.
                let next = try await hub.uploadImport(.small, flow: "next", key: "k")
                #expect(next.status == 201, "\(next.text)")
            }
            try await fixture.settle()
            try await fixture.expectConsistent(["next": .small])
            try await fixture.expectNothingToSweep()
        }
    }

    @Test(arguments: [ImportSample.small, .large], [false, true])
    func hubPausedDuringObjectWriteCannotFinishSweptImport(_ sample: ImportSample, isApplied: Bool) async throws {
        try await ImportHubFixture.running(.r2) { fixture in
            let proxy = try fixture.proxy
            proxy.inject(.stall(isApplied: isApplied), on: sample.records == 300 ? .putObject : .completeUpload)
            try await fixture.withKilledHub { hub in
                async let answer = hub.uploadImport(sample, flow: "job", key: "k")
                try await proxy.wait(for: "the request", within: .seconds(60)) { requests in requests.contains { $0.isStalled } }
                hub.pause()
                try await Self.expectSwept(fixture, flow: "job")
                // R2 carries out now what it was asked for long ago.
                proxy.release()
                try await proxy.wait(for: "it to be done") { requests in
                    requests.contains { $0.fault != nil && $0.serverStatus != nil }
                }
                hub.resume()
                Self.expectRefusal(try await answer, "\(isApplied)")
                try await fixture.expectConsistent()
            }
            try await fixture.expectKeys(["k": 201], flow: "job")
            try await fixture.expectConsistent()
            try await fixture.expectNothingToSweep()
        }
    }

    @Test func expiredClaimFreesKeyBeforeSweep() async throws {
        // The hub that is left sweeps when this is over.
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
            // What the first one left is still known, and goes.
            try await fixture.settle()
            #expect(try await fixture.ledger().map(\.status).sorted() == ["failed", "stored"])
            try await fixture.expectConsistent()
        }
    }

    // MARK: At once

    @Test(arguments: shared)
    func concurrentUploadsAtTwoHubsCreateOneImport(_ kind: ImportHubFixture.Kind) async throws {
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
