import FlowCore
import FlowTestKit
import Glibc
import Testing

extension ImportSystemTests {
    /// Tests of idempotency keys: the same bytes with one key are one import.
    @Suite struct ImportIdempotencyTests {
        private static func key(_ name: String) -> (name: String, value: String) { ("Idempotency-Key", name) }

        private static func count(_ cluster: ImportClusterFixture, _ status: String) async throws -> Int {
            let reply = try await cluster.hub.api.call("GET", "/v1/imports?status=\(status)")
            return reply.json.member("imports")?.elements.count ?? -1
        }

        /// Starts an upload without finishing it.
        private static func begin(_ cluster: ImportClusterFixture, key: String) async throws -> RawExchange {
            let exchange = try await RawExchange.open(port: cluster.hub.port)
            let upload = TestUpload([], "", [Self.key(key)], by: .chunked)
            try await exchange.send(Array(upload.head.utf8) + TestUpload.chunk(Array("[1,\n".utf8)))
            try await eventually("the import to be pending") { try await Self.count(cluster, "pending") == 1 }
            return exchange
        }

        @Test func repeatReturnsSameImportAndOtherBytesConflict() async {
            await concurrently(ImportTopology.allCases, self.repeatReturnsSameImportAndOtherBytesConflict(_:))
        }

        private func repeatReturnsSameImportAndOtherBytesConflict(_ topology: ImportTopology) async throws {
            try await ImportClusterFixture.running(topology, hubs: 2) { cluster in
                let body = Array("[1, 2]".utf8)
                let first = try await cluster.hub.store(TestUpload(body, "flow_id=f&file_name=a", [Self.key("k")]))
                for (hub, framing) in [
                    (cluster.hub, TestUpload.Framing.chunked), (cluster.other, .length), (cluster.other, .expecting),
                ] {
                    let reply = try await hub.send(
                        TestUpload(body, "flow_id=f&file_name=a", [Self.key("k")], by: framing))
                    #expect(reply.status == 200 && reply.header("idempotency-replayed") == "true")
                    #expect(reply.json == first.json)
                }
                // Other bytes, even of the same records, or other parameters are a conflict.
                for (text, query) in [
                    ("[1,2]", "flow_id=f&file_name=a"), ("[1, 2] ", "flow_id=f&file_name=a"), ("[1", "flow_id=f&file_name=a"),
                    ("[1, 2]", "flow_id=f&file_name=b"), ("[1, 2]", "flow_id=g&file_name=a"), ("[1, 2]", "file_name=a"),
                    ("[1, 2]", "flow_id=f&file_name=a&source_type=x"),
                ] {
                    let reply = try await cluster.other.send(TestUpload(text, query, [Self.key("k")]))
                    #expect(reply.status == 422 && reply.problemCode == "idempotency_conflict", "\(text) \(query): \(reply.text)")
                }
                #expect(try await cluster.hub.store(TestUpload(body, "flow_id=f&file_name=a", [Self.key("l")])).id != first.id)
                #expect(try await Self.count(cluster, "stored") == 2)
                #expect(try await cluster.keys().count == (topology.hasObjects ? 2 : 0))
                #expect(try await cluster.hub.api.history(of: "f")?.events.count == 2)
                #expect(try await cluster.hub.send(TestUpload(body, "", [Self.key("")])).problemCode == "bad_idempotency_key")
            }
        }

        @Test func pendingImportConflictsAndFailedImportFreesKey() async {
            await concurrently(ImportTopology.allCases, self.pendingImportConflictsAndFailedImportFreesKey(_:))
        }

        private func pendingImportConflictsAndFailedImportFreesKey(_ topology: ImportTopology) async throws {
            try await ImportClusterFixture.running(topology, hubs: 2) { cluster in
                let exchange = try await Self.begin(cluster, key: "k")
                for hub in cluster.hubs {
                    let reply = try await hub.send(TestUpload("[1,\n2]", "", [Self.key("k")]))
                    #expect(reply.status == 409 && reply.problemCode == "import_in_progress", "\(reply.text)")
                    #expect(reply.header("retry-after") != nil)
                }
                try await exchange.send(TestUpload.chunk(Array("2]".utf8)) + Array("0\r\n\r\n".utf8))
                #expect(try await exchange.replies(1)[0].status == 201)
                exchange.close()
                #expect(try await cluster.other.send(TestUpload("[1,\n2]", "", [Self.key("k")])).status == 200)

                #expect(try await cluster.hub.send(TestUpload("[1,", "", [Self.key("bad")])).status == 400)
                #expect(try await cluster.other.send(TestUpload("[1]", "", [Self.key("bad")])).status == 201)

                // An interrupted upload.
                let broken = try await Self.begin(cluster, key: "broken")
                broken.close()
                try await eventually("the import to have failed") { try await Self.count(cluster, "failed") == 2 }
                #expect(try await cluster.other.send(TestUpload("[1]", "", [Self.key("broken")])).status == 201)
                #expect(try await Self.count(cluster, "stored") == 3)
                #expect(try await cluster.keys().count == (topology.hasObjects ? 3 : 0))
                #expect(try await cluster.rowCount() == 4)
                #expect(try await cluster.uploads() == 0)
            }
        }

        @Test(arguments: ImportTopology.allCases)
        func concurrentUploadsWithOneKeyCreateOneImport(_ topology: ImportTopology) async throws {
            try await ImportClusterFixture.running(topology, hubs: 2, ["FLOWHUB_MAX_IMPORTS": "20"]) {
                cluster in
                let body = Array(ImportOracle.records(200).joined(separator: "\n").utf8)
                for round in 0..<TestScale.pick(3, full: 20) {
                    let replies = try await withThrowingTaskGroup(of: HTTPReply.self) { group in
                        for number in 0..<8 {
                            let hub = cluster.hubs[number % cluster.hubs.count]
                            group.addTask { try await hub.send(TestUpload(body, "", [Self.key("\(round)")])) }
                        }
                        return try await group.reduce(into: []) { $0.append($1) }
                    }
                    #expect(replies.count { $0.status == 201 } == 1, "\(replies.map(\.status))")
                    #expect(replies.allSatisfy { [200, 201, 409].contains($0.status) }, "\(replies.map(\.status))")
                    #expect(try await Self.count(cluster, "stored") == round + 1)
                }
            }
        }

        @Test func importOfKilledHubIsCompletedOrRemoved() async {
            await concurrently(ImportTopology.allCases, self.importOfKilledHubIsCompletedOrRemoved(_:))
        }

        private func importOfKilledHubIsCompletedOrRemoved(_ topology: ImportTopology) async throws {
            try await ImportClusterFixture.running(topology) { cluster in
                _ = try await cluster.hub.api.put("f", .emptyObject)
                for (point, status) in [
                    (Failpoint.importBegun, "failed"), (.importUploaded, "failed"), (.importStored, "stored"),
                    (.importAnnounced, "stored"),
                ] {
                    try await cluster.hub.kill()
                    try await cluster.hub.start(adding: ["FLOWHUB_FAILPOINT": point.rawValue])
                    let before = try await Self.ids(cluster)
                    let events = try await cluster.hub.api.history(of: "f")?.events.count ?? 0
                    let body = Array(ImportOracle.records(50).joined(separator: "\n").utf8)
                    await #expect(throws: AnswerLost.self) {
                        try await cluster.hub.call(
                            "POST", "/v1/imports?flow_id=f", headers: [Self.key("\(point)")], bytes: body)
                    }
                    #expect(try await cluster.hub.waitForExit() == .signal(SIGKILL), "\(point)")
                    try await cluster.expireClaims()
                    try await cluster.hub.start(adding: ["FLOWHUB_FAILPOINT": ""])
                    try await eventually("the event of the import, \(point)") {
                        try await cluster.hub.api.history(of: "f")?.events.count == events + 1
                    }
                    let ids = try await Self.ids(cluster).filter { !before.contains($0) }
                    #expect(ids.count == 1, "\(point)")
                    let entry = try await cluster.hub.get(#require(ids.first)).json
                    #expect(entry.member("status")?.stringValue == status, "\(point)")
                    let event = try #require(try await cluster.hub.api.history(of: "f")?.events.last)
                    #expect(
                        event.string.contains("import_\(status)") && event.string.contains(ids[0]), "\(point): \(event.string)")
                    if status == "failed" { try await cluster.waitUntilNothingIsLeft() }
                    let again = try await cluster.hub.send(TestUpload(body, "flow_id=f", [Self.key("\(point)")]))
                    #expect(again.status == (status == "failed" ? 201 : 200), "\(point)")
                    for id in try await Self.ids(cluster) {
                        #expect(try await cluster.hub.api.call("DELETE", "/v1/imports/\(id)").status == 204)
                    }
                    try await cluster.waitUntilNothingIsLeft()
                }
                for point in [Failpoint.importDeleting, .importObjectGone] {
                    let entry = try await cluster.hub.store(TestUpload(ImportOracle.records(50).joined(separator: "\n")))
                    try await cluster.hub.kill()
                    try await cluster.hub.start(adding: ["FLOWHUB_FAILPOINT": point.rawValue])
                    await #expect(throws: (any Error).self) {
                        try await cluster.hub.api.call("DELETE", "/v1/imports/\(entry.id)")
                    }
                    #expect(try await cluster.hub.waitForExit() == .signal(SIGKILL), "\(point)")
                    try await cluster.expireClaims()
                    try await cluster.hub.start(adding: ["FLOWHUB_FAILPOINT": ""])
                    #expect(try await cluster.hub.get(entry.id).status == 404, "\(point)")
                    try await cluster.waitUntilNothingIsLeft()
                    try await eventually("its ledger entry to be deleted") {
                        try await cluster.query("SELECT count(*) FROM data_imports") == "0"
                    }
                }
            }
        }

        private static func ids(_ cluster: ImportClusterFixture) async throws -> [String] {
            let reply = try await cluster.hub.api.call("GET", "/v1/imports")
            return (reply.json.member("imports")?.elements ?? []).compactMap { $0.member("id")?.stringValue }
        }
    }
}
