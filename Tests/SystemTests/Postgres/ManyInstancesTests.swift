import FlowCore
import FlowTestKit
import Testing

/// Several instances on one database form one hub, without Redis.
@Suite(.serialized, .postgres()) struct ManyInstancesTests {
    @Test func writersAtTwoInstancesProduceOneOrder() async {
        await concurrently(PostgresHubs.Route.allCases, self.writersAtTwoInstancesProduceOneOrder(_:))
    }

    private func writersAtTwoInstancesProduceOneOrder(_ route: PostgresHubs.Route) async throws {
        let updates = TestScale.pick(400, full: 2_500)
        try await PostgresHubs.running(2, on: try SharedPostgres.server, by: route) { hubs in
            let clients = [0, 1, 0, 1].map { EventStreamClient(.flow("shared"), port: hubs[$0].port, name: "watcher at \($0)") }
            for client in clients { try await client.connect() }
            try await withThrowingTaskGroup(of: Void.self) { group in
                for (number, hub) in hubs.enumerated() {
                    // Several concurrent writers per instance, so that the instances' commits overlap.
                    for lane in 0..<4 {
                        group.addTask {
                            let api = hub.api
                            for update in 0..<updates / 4 {
                                let patch = try jsonText(#"{"w\#(number)":{"l\#(lane)":\#(update)}}"#)
                                let written = try await api.patch("shared", patch)
                                #expect(written.isAcknowledged, "\(written.reply.text)")
                            }
                        }
                    }
                }
                try await group.waitForAll()
            }
            let total = Version(updates / 4 * 8)
            let history = try #require(try await hubs[0].api.history(of: "shared"))
            #expect(history.version == total)
            let journal = FlowJournal(flow: "shared", envelopes: history.events)
            #expect(StoreChecker.check(journal, version: history.version, events: history.events).isEmpty)
            let facts = StreamChecker.Facts(
                journals: ["shared": journal], oldest: ["shared": 1], epochs: [try await ModelRun.epoch(hubs[0], "show")])
            for client in clients {
                try await client.waitUntil("version \(total)") { log in
                    log.blocks.last { $0.version != nil }?.version == total ? () : nil
                }
                let violations = StreamChecker.check(client.log, of: client.target, by: client.name, facts)
                #expect(violations.isEmpty, "\(violations.listing)")
            }
        }
    }

    @Test func versionSweepDeliversCommitsOfOtherInstance() async throws {
        try await PostgresHubs.running(2, on: try SharedPostgres.server) { hubs in
            let (apiA, apiB) = (hubs[0].api, hubs[1].api)
            #expect(try await apiA.put("job", try jsonText(#"{"status":"running","n":1}"#)).status == 201)
            // The other instance caches the flow from now on.
            #expect(try await apiB.state(of: "job")?.version == 1)
            let watcher = EventStreamClient(.flow("job"), port: hubs[1].port)
            let feed = EventStreamClient(.feed, port: hubs[1].port)
            try await watcher.connect()
            try await feed.connect()
            _ = try await watcher.next(event: "caught_up")
            _ = try await feed.next(event: "flows")
            #expect(try await apiA.patch("job", try jsonText(#"{"n":2}"#)).version == 2)
            let update = try await watcher.next(event: "state_update", within: .seconds(2))
            #expect(update.version == 2)
            let change = try await feed.next("the change in the feed", within: .seconds(4)) {
                $0.event == "flow" && $0.version == 2
            }
            #expect(change.flow == "job")
            try await eventually("the other instance to read version 2", within: .seconds(2)) {
                try await apiB.state(of: "job")?.version == 2
            }
        }
    }

    @Test func lockHasOneHolderAcrossInstances() async throws {
        try await PostgresHubs.running(2, on: try SharedPostgres.server) { hubs in
            let first = try await hubs[0].call("POST", "/v1/locks/nightly", body: #"{"ttl":30}"#)
            #expect(first.status == 201)
            #expect(try await hubs[1].call("POST", "/v1/locks/nightly", body: #"{"ttl":30}"#).status == 409)
            let id = try #require(first.json.member("lock_id")?.stringValue)
            #expect(try await hubs[1].call("DELETE", "/v1/locks/nightly?lock_id=\(id)").status == 204)
            let second = try await hubs[1].call("POST", "/v1/locks/nightly", body: #"{"ttl":30}"#)
            #expect(second.status == 201)
            let older = try #require(first.json.member("fencing_token")?.intValue)
            let newer = try #require(second.json.member("fencing_token")?.intValue)
            #expect(newer > older)
        }
    }

    @Test func concurrentMigrationsCreateSchemaOnce() async throws {
        let server = try SharedPostgres.server
        let database = try await server.createDatabase()
        let folder = try TemporaryFolder()
        defer { folder.remove() }
        let processes = try (0..<10).map { _ in
            try ChildProcess(
                HubBinary.path(), ["migrate"],
                environment: ["DATABASE_URL": server.url(database), "SWIFT_BACKTRACE": "enable=no"], folder: folder.path)
        }
        var applied = 0
        for process in processes {
            #expect(try await process.waitForExit(within: .seconds(60)) == .code(0), "\(process.errorOutput)")
            applied += process.output.contains("Applied") ? 1 : 0
        }
        #expect(applied >= 1)
        #expect(try await server.query("SELECT count(*), count(DISTINCT name) FROM schema_migrations", in: database) == "18|18")
    }
}
