import FlowCore
import FlowTestKit
import Testing

extension ImportSystemTests {
    /// Tests of which tokens can access an import, and of which flows receive its events.
    @Suite struct ImportAccessTests {
        @Test(arguments: ImportTopology.allCases)
        func importsAreVisibleToTheirAccountOnly(_ topology: ImportTopology) async throws {
            try await ImportClusterFixture.running(topology, ["FLOWHUB_JWT_KEY": TestToken.key]) { cluster in
                let hub = cluster.hub
                let own = TestToken(account: "7", scopes: ["imports"]).header
                let foreign = TestToken(account: "8", scopes: ["imports"]).header
                let scopeless = TestToken(account: "7", scopes: ["admin", "locks", "patterns"]).header
                let entry = try await hub.store(TestUpload("[1]", "flow_id=f", [own, ("Idempotency-Key", "k")]))
                #expect(entry.location?.hasPrefix("imports/7/") ?? true)
                let parts = ["", "/data", "/records", "/sample", "/schema", "/download"]
                for part in parts {
                    let other = try await hub.get(entry.id, part, [foreign])
                    #expect(other.status == 404 && other.problemCode == "not_found", "\(part)")
                    #expect(try await hub.get(entry.id, part, [scopeless]).status == 403, "\(part)")
                    #expect(try await hub.get(entry.id, part).problemCode == "token_missing", "\(part)")
                    #expect([200, 302, 409].contains(try await hub.get(entry.id, part, [own]).status), "\(part)")
                }
                // To another account the import does not exist: the response is the same as for an unknown id.
                func comparable(_ reply: HTTPReply) -> String {
                    reply.text.replacing(reply.header("x-request-id") ?? "none", with: "REQUEST")
                }
                let unknown = try await hub.get("00000000-0000-4000-8000-000000000009", "", [foreign])
                #expect(comparable(unknown) == comparable(try await hub.get(entry.id, "", [foreign])))
                for (header, status) in [(foreign, 404), (scopeless, 403)] {
                    #expect(try await hub.call("DELETE", "/v1/imports/\(entry.id)", headers: [header]).status == status)
                }
                #expect(try await hub.call("GET", "/v1/imports", headers: [foreign]).text == #"{"imports":[],"next":null}"#)
                #expect(
                    try await hub.call("GET", "/v1/imports?flow_id=f", headers: [foreign]).text == #"{"imports":[],"next":null}"#)
                #expect(
                    try await hub.call("GET", "/v1/imports?after=\(entry.id)", headers: [foreign]).json.member("imports")?
                        .elements
                        .isEmpty == true)
                #expect(try await hub.call("GET", "/v1/imports", headers: [scopeless]).status == 403)
                #expect(try await hub.send(TestUpload("[1]", "", [scopeless])).status == 403)
                #expect(try await hub.send(TestUpload("[1]")).status == 401)
                // Idempotency keys are scoped to an account.
                let theirs = try await hub.store(TestUpload("[2]", "", [foreign, ("Idempotency-Key", "k")]))
                #expect(theirs.id != entry.id)
                #expect(try await hub.get(entry.id, "/data", [own]).text == "[\n1\n]\n")
            }
        }

        @Test(arguments: ImportTopology.allCases)
        func flowReceivesImportEventsOfAllowedPublishersOnly(_ topology: ImportTopology) async throws {
            try await ImportClusterFixture.running(
                topology, ["FLOWHUB_JWT_KEY": TestToken.key, "FLOWHUB_IMPORT_PROGRESS_MS": "50"]
            ) {
                cluster in
                let hub = cluster.hub
                let own = TestToken(account: "7", scopes: ["imports"])
                _ = try await hub.api.with(header: own.header.name, own.header.value).put("f", .emptyObject)
                let watcher = EventStreamClient(StreamTarget.flow("f").with { $0.headers = [own.header] }, port: hub.port)
                try await watcher.connect(.none)
                _ = try await watcher.next(event: "snapshot")

                let narrow = TestToken(account: "7", publish: ["g-*"], scopes: ["imports"]).header
                let rejected = try await hub.send(TestUpload("[1]", "flow_id=f", [narrow]))
                #expect(rejected.status == 403 && rejected.problemCode == "forbidden")
                let foreign = TestToken(account: "8", scopes: ["imports"]).header
                let other = try await hub.send(TestUpload("[1]", "flow_id=f", [foreign]))
                #expect(other.status == 403, "\(other.text)")
                #expect(try await hub.call("GET", "/v1/imports", headers: [foreign]).text == #"{"imports":[],"next":null}"#)
                #expect(try await hub.send(TestUpload("[1]", "flow_id=g-1", [narrow])).status == 201)
                #expect(try await hub.send(TestUpload("[1]", "flow_id=a%2Fb", [narrow])).problemCode == "bad_flow_id")

                // The rejected imports have sent no event, so the first one is that of the account's own import.
                let entry = try await hub.store(TestUpload("[1]", "flow_id=f", [own.header]))
                let event = try await watcher.next(event: "import_stored")
                #expect(event.data?.contains(entry.id) == true)
                #expect(watcher.log.events("import_failed").isEmpty && watcher.log.events("import_stored").count == 1)
                let progress = watcher.log.events("import_progress")
                #expect(progress.allSatisfy { $0.data?.contains(entry.id) == true })
            }
        }
    }
}
