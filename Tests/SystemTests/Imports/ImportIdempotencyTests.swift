import FlowCore
import FlowTestKit
import Glibc
import Testing

extension ImportSystemTests {
    /// The same bytes under one key are one import.
    @Suite struct ImportIdempotencyTests {
        private static func key(_ name: String) -> (name: String, value: String) { ("Idempotency-Key", name) }

        private static func count(_ stage: ImportClusterFixture, _ status: String) async throws -> Int {
            let reply = try await stage.hub.api.call("GET", "/v1/imports?status=\(status)")
            return reply.json.member("imports")?.elements.count ?? -1
        }

        /// An upload whose end is yet to come.
        private static func begin(_ stage: ImportClusterFixture, key: String) async throws -> RawExchange {
            let exchange = try await RawExchange.open(port: stage.hub.port)
            let upload = TestUpload([], "", [Self.key(key)], by: .chunked)
            try await exchange.send(Array(upload.head.utf8) + TestUpload.chunk(Array("[1,\n".utf8)))
            try await eventually("the import to be pending") { try await Self.count(stage, "pending") == 1 }
            return exchange
        }

        @Test("again is the same; other bytes and other parameters are a conflict", arguments: ImportTopology.allCases)
        func again(_ setUp: ImportTopology) async throws {
            try await ImportClusterFixture.running(setUp, hubs: 2) { stage in
                let body = Array("[1, 2]".utf8)
                let first = try await stage.hub.store(TestUpload(body, "flow_id=f&file_name=a", [Self.key("k")]))
                for (hub, framing) in [
                    (stage.hub, TestUpload.Framing.chunked), (stage.other, .length), (stage.other, .expecting),
                ] {
                    let reply = try await hub.send(
                        TestUpload(body, "flow_id=f&file_name=a", [Self.key("k")], by: framing))
                    #expect(reply.status == 200 && reply.header("idempotency-replayed") == "true")
                    #expect(reply.json == first.json)
                }
                // The same records are not the same bytes.
                for (text, query) in [
                    ("[1,2]", "flow_id=f&file_name=a"), ("[1, 2] ", "flow_id=f&file_name=a"), ("[1", "flow_id=f&file_name=a"),
                    ("[1, 2]", "flow_id=f&file_name=b"), ("[1, 2]", "flow_id=g&file_name=a"), ("[1, 2]", "file_name=a"),
                    ("[1, 2]", "flow_id=f&file_name=a&source_type=x"),
                ] {
                    let reply = try await stage.other.send(TestUpload(text, query, [Self.key("k")]))
                    #expect(reply.status == 422 && reply.problemCode == "idempotency_conflict", "\(text) \(query): \(reply.text)")
                }
                #expect(try await stage.hub.store(TestUpload(body, "flow_id=f&file_name=a", [Self.key("l")])).id != first.id)
                #expect(try await Self.count(stage, "stored") == 2)
                #expect(try await stage.keys().count == (setUp.hasObjects ? 2 : 0))
                #expect(try await stage.hub.api.history(of: "f")?.events.count == 2)
                #expect(try await stage.hub.send(TestUpload(body, "", [Self.key("")])).problemCode == "bad_idempotency_key")
            }
        }

        @Test("while it is taken in it is told so; one that came to nothing gives its key up", arguments: ImportTopology.allCases)
        func pending(_ setUp: ImportTopology) async throws {
            try await ImportClusterFixture.running(setUp, hubs: 2) { stage in
                let exchange = try await Self.begin(stage, key: "k")
                for hub in stage.hubs {
                    let reply = try await hub.send(TestUpload("[1,\n2]", "", [Self.key("k")]))
                    #expect(reply.status == 409 && reply.problemCode == "import_in_progress", "\(reply.text)")
                    #expect(reply.header("retry-after") != nil)
                }
                try await exchange.send(TestUpload.chunk(Array("2]".utf8)) + Array("0\r\n\r\n".utf8))
                #expect(try await exchange.replies(1)[0].status == 201)
                exchange.close()
                #expect(try await stage.other.send(TestUpload("[1,\n2]", "", [Self.key("k")])).status == 200)

                #expect(try await stage.hub.send(TestUpload("[1,", "", [Self.key("bad")])).status == 400)
                #expect(try await stage.other.send(TestUpload("[1]", "", [Self.key("bad")])).status == 201)

                // One that breaks off.
                let broken = try await Self.begin(stage, key: "broken")
                broken.close()
                try await eventually("it to have failed") { try await Self.count(stage, "failed") == 2 }
                #expect(try await stage.other.send(TestUpload("[1]", "", [Self.key("broken")])).status == 201)
                #expect(try await Self.count(stage, "stored") == 3)
                #expect(try await stage.keys().count == (setUp.hasObjects ? 3 : 0))
                #expect(try await stage.rowCount() == 4)
                #expect(try await stage.uploads() == 0)
            }
        }

        @Test("many at once with one key are one", arguments: ImportTopology.allCases)
        func race(_ setUp: ImportTopology) async throws {
            try await ImportClusterFixture.running(setUp, hubs: 2, ["FLOWHUB_MAX_IMPORTS": "20"]) {
                stage in
                let body = Array(ImportOracle.records(200).joined(separator: "\n").utf8)
                for round in 0..<TestScale.pick(3, full: 20) {
                    let replies = try await withThrowingTaskGroup(of: HTTPReply.self) { group in
                        for number in 0..<8 {
                            let hub = stage.hubs[number % stage.hubs.count]
                            group.addTask { try await hub.send(TestUpload(body, "", [Self.key("\(round)")])) }
                        }
                        return try await group.reduce(into: []) { $0.append($1) }
                    }
                    #expect(replies.count { $0.status == 201 } == 1, "\(replies.map(\.status))")
                    #expect(replies.allSatisfy { [200, 201, 409].contains($0.status) }, "\(replies.map(\.status))")
                    #expect(try await Self.count(stage, "stored") == round + 1)
                }
            }
        }

        @Test("a hub that is killed leaves nothing, and another one says so", arguments: ImportTopology.allCases)
        func death(_ setUp: ImportTopology) async throws {
            try await ImportClusterFixture.running(setUp) { stage in
                _ = try await stage.hub.api.put("f", .emptyObject)
                for (point, status) in [
                    (Failpoint.importBegun, "failed"), (.importUploaded, "failed"), (.importStored, "stored"),
                    (.importAnnounced, "stored"),
                ] {
                    try await stage.hub.kill()
                    try await stage.hub.start(adding: ["FLOWHUB_FAILPOINT": point.rawValue])
                    let before = try await Self.ids(stage)
                    let events = try await stage.hub.api.history(of: "f")?.events.count ?? 0
                    let body = Array(ImportOracle.records(50).joined(separator: "\n").utf8)
                    await #expect(throws: AnswerLost.self) {
                        try await stage.hub.call(
                            "POST", "/v1/imports?flow_id=f", headers: [Self.key("\(point)")], bytes: body)
                    }
                    #expect(try await stage.hub.waitForExit() == .signal(SIGKILL), "\(point)")
                    try await stage.endClaims()
                    try await stage.hub.start(adding: ["FLOWHUB_FAILPOINT": ""])
                    try await eventually("the flow to be told, \(point)") {
                        try await stage.hub.api.history(of: "f")?.events.count == events + 1
                    }
                    let ids = try await Self.ids(stage).filter { !before.contains($0) }
                    #expect(ids.count == 1, "\(point)")
                    let entry = try await stage.hub.get(#require(ids.first)).json
                    #expect(entry.member("status")?.stringValue == status, "\(point)")
                    let told = try #require(try await stage.hub.api.history(of: "f")?.events.last)
                    #expect(told.string.contains("import_\(status)") && told.string.contains(ids[0]), "\(point): \(told.string)")
                    if status == "failed" { try await stage.waitUntilNothingIsLeft() }
                    let again = try await stage.hub.send(TestUpload(body, "flow_id=f", [Self.key("\(point)")]))
                    #expect(again.status == (status == "failed" ? 201 : 200), "\(point)")
                    for id in try await Self.ids(stage) {
                        #expect(try await stage.hub.api.call("DELETE", "/v1/imports/\(id)").status == 204)
                    }
                    try await stage.waitUntilNothingIsLeft()
                }
                for point in [Failpoint.importDeleting, .importObjectGone] {
                    let entry = try await stage.hub.store(TestUpload(ImportOracle.records(50).joined(separator: "\n")))
                    try await stage.hub.kill()
                    try await stage.hub.start(adding: ["FLOWHUB_FAILPOINT": point.rawValue])
                    await #expect(throws: (any Error).self) { try await stage.hub.api.call("DELETE", "/v1/imports/\(entry.id)") }
                    #expect(try await stage.hub.waitForExit() == .signal(SIGKILL), "\(point)")
                    try await stage.endClaims()
                    try await stage.hub.start(adding: ["FLOWHUB_FAILPOINT": ""])
                    #expect(try await stage.hub.get(entry.id).status == 404, "\(point)")
                    try await stage.waitUntilNothingIsLeft()
                    try await eventually("its entry to be gone") {
                        try await stage.query("SELECT count(*) FROM data_imports") == "0"
                    }
                }
            }
        }

        private static func ids(_ stage: ImportClusterFixture) async throws -> [String] {
            let reply = try await stage.hub.api.call("GET", "/v1/imports")
            return (reply.json.member("imports")?.elements ?? []).compactMap { $0.member("id")?.stringValue }
        }
    }
}
