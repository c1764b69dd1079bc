import FlowCore
import FlowTestKit
import Testing

/// A hub that was taken for dead and is not, and hubs that get the same import at once.
@Suite(.serialized, .s3(), .postgres()) struct ImportTakeoverTests {
    private static let shared = [ImportHubFixture.Kind.r2, .rows]

    /// The import was swept while its hub stood still: its flow was told, and nothing is there.
    private static func expectSwept(_ stand: ImportHubFixture, flow: String) async throws {
        try await stand.settle()
        #expect(try await stand.ledger().filter { $0.flow == flow }.map(\.status) == ["failed"])
        try await stand.expectSound()
    }

    private static func expectRefusal(_ reply: HTTPReply?, _ what: Comment) {
        // That it was not taken in is what counts; whether it was told so depends on where it stood.
        guard let reply else { return }
        #expect(reply.status == 503 && reply.problemCode == "import_taken_over", "\(what): \(reply.status) \(reply.text)")
    }

    // MARK: Taken for dead

    @Test("a hub that stood still while the body came does no harm", arguments: shared)
    func body(_ kind: ImportHubFixture.Kind) async throws {
        try await ImportHubFixture.running(kind) { stand in
            try await stand.doomed { hub in
                let upload = try await HalfUpload.begin(.large, flow: "job", key: "k", at: hub, stand)
                hub.pause()
                try await Self.expectSwept(stand, flow: "job")
                hub.resume()
                Self.expectRefusal(try await upload.finish(), "\(kind)")
                // It is well otherwise.
                let next = try await hub.handIn(.small, flow: "next", key: "k")
                #expect(next.status == 201, "\(next.text)")
            }
            try await stand.settle()
            try await stand.expectSound(["next": .small])
            try await stand.expectNothingToSweep()
        }
    }

    @Test(
        "a hub that stood still while its object came to be does no harm", arguments: [ImportSample.small, .large], [false, true])
    func object(_ sample: ImportSample, isApplied: Bool) async throws {
        try await ImportHubFixture.running(.r2) { stand in
            let proxy = try stand.proxy
            proxy.inject(.stall(isApplied: isApplied), on: sample.records == 300 ? .putObject : .completeUpload)
            try await stand.doomed { hub in
                async let answer = hub.handIn(sample, flow: "job", key: "k")
                try await proxy.wait(for: "the request", within: .seconds(60)) { requests in requests.contains { $0.isHeld } }
                hub.pause()
                try await Self.expectSwept(stand, flow: "job")
                // R2 carries out now what it was asked for long ago.
                proxy.release()
                try await proxy.wait(for: "it to be done") { requests in
                    requests.contains { $0.fault != nil && $0.serverStatus != nil }
                }
                hub.resume()
                Self.expectRefusal(try await answer, "\(isApplied)")
                try await stand.expectSound()
            }
            try await stand.expectKeys(["k": 201], flow: "job")
            try await stand.expectSound()
            try await stand.expectNothingToSweep()
        }
    }

    @Test func `a key is free again before anybody has swept`() async throws {
        // The hub that is left sweeps when this is over.
        try await ImportHubFixture.running(.r2, ["FLOWHUB_IMPORT_CLAIM_SECONDS": "60"]) { stand in
            try await stand.doomed(["FLOWHUB_IMPORT_CLAIM_SECONDS": "4"]) { hub in
                _ = try await HalfUpload.begin(.large, flow: "job", key: "k", at: hub, stand)
                try await hub.kill()
            }
            try await eventually("the key to be free") {
                let reply = try await stand.hub.handIn(.small, flow: "job", key: "k")
                if reply.status == 201 { return true }
                #expect(reply.status == 409 && reply.problemCode == "import_in_progress", "\(reply.text)")
                return false
            }
            // What the first one left is still known, and goes.
            try await stand.settle()
            #expect(try await stand.ledger().map(\.status).sorted() == ["failed", "stored"])
            try await stand.expectSound()
        }
    }

    // MARK: At once

    @Test("of two hubs that get the same at once one takes it in", arguments: shared)
    func both(_ kind: ImportHubFixture.Kind) async throws {
        try await ImportHubFixture.running(kind) { stand in
            try await HubProcess.running(stand.environment) { other in
                for round in 0..<TestScale.pick(6, full: 60) {
                    let key = "key-\(round)"
                    async let first = stand.hub.handIn(.small, flow: "job", key: key)
                    async let second = other.handIn(.small, flow: "job", key: key)
                    let replies = try await [first, second]
                    #expect(replies.filter { $0.status == 201 }.count == 1, "\(replies.map(\.text))")
                    for reply in replies where reply.status != 201 {
                        if reply.status == 200 {
                            #expect(reply.header("idempotency-replayed") == "true")
                        } else {
                            #expect(reply.status == 409 && reply.problemCode == "import_in_progress", "\(reply.text)")
                        }
                    }
                    #expect(try await stand.ledger().filter { $0.key == key }.map(\.status) == ["stored"])
                }
                try await stand.settle()
                try await stand.expectSound(["job": .small])
            }
        }
    }
}
