import FlowCore
import FlowTestKit
import Testing

/// Limits of what one account stores, and the end of tombstones, on both stores.
@Suite(.postgres()) struct AccountLimitTests {
    enum Store: CaseIterable, Sendable { case embedded, postgres }

    private static func running(
        _ store: Store, _ environment: [String: String], _ body: @Sendable (HubProcess) async throws -> Void
    ) async throws {
        switch store {
        case .embedded: try await HubProcess.running(environment, body)
        case .postgres:
            let server = try SharedPostgres.server
            let url = server.url(try await server.createDatabase())
            try await HubProcess.running(environment.merging(["DATABASE_URL": url]) { $1 }, body)
        }
    }

    @Test(arguments: Store.allCases)
    func rejectsWhatExceedsLimitOfAccountWithStableCode(_ store: Store) async throws {
        let environment = [
            "FLOWHUB_JWT_KEY": TestToken.key, "FLOWHUB_MAX_ACCOUNT_FLOWS": "2", "FLOWHUB_MAX_ACCOUNT_IDS": "3",
            "FLOWHUB_MAX_ACCOUNT_STATE_BYTES": "200", "FLOWHUB_MAX_ACCOUNT_HISTORY_BYTES": "2000",
            "FLOWHUB_MAX_ACCOUNT_REVOCATIONS": "1", "FLOWHUB_MAX_ACCOUNT_STORED_IMPORTS": "1", "FLOWHUB_PRUNE_SECONDS": "1",
        ]
        try await Self.running(store, environment) { hub in
            let api = hub.api.with(
                header: "Authorization", "Bearer \(TestToken(scopes: ["admin", "imports"]).text)")
            func expectFull(_ resource: String, _ reply: HTTPReply) {
                #expect(reply.status == 429 && reply.problemCode == "account_\(resource)_full", "\(reply.text)")
                #expect(reply.text.contains("FLOWHUB_MAX_ACCOUNT_"), "\(reply.text)")
            }
            #expect(try await api.put("a", .emptyObject).status == 201)
            #expect(try await api.put("b", .emptyObject).status == 201)
            expectFull("flows", try await api.put("c", .emptyObject).reply)
            #expect(try await api.delete("a").status == 200)
            #expect(try await api.put("c", .emptyObject).status == 201)
            #expect(try await api.delete("b").status == 200)
            expectFull("ids", try await api.put("d", .emptyObject).reply)
            #expect(try await api.put("b", .emptyObject).status == 201)
            let long = try jsonText("{\"s\":\"\(String(repeating: "x", count: 150))\"}")
            #expect(try await api.put("b", long).status == 200)
            expectFull("states", try await api.put("c", long).reply)
            #expect(try await api.state(of: "c")?.state.string == "{}")
            var last = try await api.publish("tick", long, to: "c")
            while last.isAcknowledged { last = try await api.publish("tick", long, to: "c") }
            expectFull("history", last.reply)
            #expect(try await api.delete("b").status == 200)

            #expect(try await api.call("POST", "/v1/revocations", jsonText(#"{"subject":"x"}"#)).status == 201)
            expectFull("revocations", try await api.call("POST", "/v1/revocations", jsonText(#"{"subject":"y"}"#)))
            #expect(try await api.call("POST", "/v1/revocations", jsonText(#"{"subject":"x"}"#)).status == 201)

            let stored = try await api.call("POST", "/v1/imports", jsonText(#"[{"a":1}]"#))
            #expect(stored.status == 201, "\(stored.text)")
            expectFull("imports", try await api.call("POST", "/v1/imports", jsonText(#"[{"a":1}]"#)))
            let id = try #require(stored.json.member("id")?.stringValue)
            #expect(try await api.call("DELETE", "/v1/imports/\(id)").status == 204)
            #expect(try await api.call("POST", "/v1/imports", jsonText(#"[{"a":1}]"#)).status == 201)

            // Another account has limits of its own.
            let other = hub.api.with(header: "Authorization", "Bearer \(TestToken(account: "8").text)")
            #expect(try await other.put("other", .emptyObject).status == 201)
            try await eventually("the metrics of the usage") {
                try await hub.api.metric("flowhub_account_usage_max{resource=\"ids\"}") == 3
            }
            #expect(try await hub.api.metric("flowhub_account_usage_max{resource=\"imports\"}") == 1)
        }
    }

    @Test func endOfTombstoneFreesIdWithoutNewEpoch() async throws {
        let environment = [
            "FLOWHUB_JWT_KEY": TestToken.key, "FLOWHUB_HISTORY_SECONDS": "2", "FLOWHUB_TOMBSTONE_SECONDS": "4",
            "FLOWHUB_PRUNE_SECONDS": "1", "FLOWHUB_SWEEP_SECONDS": "1", "FLOWHUB_LINGER_MS": "60000",
        ]
        let server = try SharedPostgres.server
        let database = try await server.createDatabase()
        try await PostgresHubs.start(2, server.url(database), environment) { hubs in
            // Tombstones end from a day after the migration on.
            try await server.query("UPDATE schema_migrations SET applied_at = applied_at - interval '2 days'", in: database)
            let hub = hubs[0]
            let owner = TestToken(account: "8")
            let theirs = hub.api.with(header: "Authorization", "Bearer \(owner.text)")
            let mine = hub.api.with(header: "Authorization", "Bearer \(TestToken(account: "7").text)")
            #expect(try await theirs.put("name", jsonText(#"{"n":1}"#)).version == 1)
            // A stream of the owner and one of another account watch the flow until its tombstone has ended.
            func stream(_ token: TestToken, _ flow: String = "name") async throws -> EventStreamClient {
                let stream = EventStreamClient(.flow(flow).with { $0.headers.append(token.header) }, port: hub.port)
                try await stream.connect()
                _ = try await stream.next(event: "caught_up")
                return stream
            }
            let streams = [try await stream(owner), try await stream(TestToken(account: "7"))]
            #expect(try await theirs.delete("name").version == 2)
            let tag = try await theirs.put("other", .emptyObject).reply.header("etag")
            #expect(try await mine.put("name", .emptyObject).status == 403)
            try await eventually("the end of the tombstone", within: .seconds(30), every: .milliseconds(200)) {
                try await theirs.history(of: "name") == nil
            }
            // What the other instance publishes is delivered by a version sweep, which reads the heads of all watched flows.
            let swept = try await stream(owner, "other")
            let elsewhere = hubs[1].api.with(header: "Authorization", "Bearer \(owner.text)")
            for number in 1...2 {
                #expect(try await elsewhere.publish("sweep-\(number)", .null, to: "other").status == 201)
                _ = try await swept.next(event: "sweep-\(number)")
            }
            let epoch = tag?.split(separator: "-").first
            #expect(try await theirs.state(of: "other")?.tag.split(separator: "-").first == epoch)
            #expect(streams[0].log.events("resync").isEmpty && streams[1].log.events("resync").isEmpty)
            #expect(try await mine.put("name", jsonText(#"{"n":2}"#)).version == 3)
            // The stream of the new owner is closed, so that its client reconnects and sees the flow.
            try await streams[1].waitUntilEnded(within: .seconds(10))
            #expect(streams[1].log.newest.last?.json.member("reconnect")?.boolValue == true)
            let again = EventStreamClient(
                .flow("name").with { $0.headers.append(TestToken(account: "7").header) }, port: hub.port)
            try await again.connect()
            #expect(try await again.next(event: "snapshot").version == 3)
            #expect(!streams[0].log.blocks.contains { ($0.version ?? 0) > 2 })
        }
    }
}
