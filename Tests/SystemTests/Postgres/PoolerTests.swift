import FlowCore
import FlowTestKit
import Testing

/// Locked rows and poolers between hub and database: every wait is bounded, and the error names the cause.
@Suite(.serialized, .postgres()) struct PoolerTests {
    /// The limits that bound every wait in these tests.
    private static let limits = [
        "FLOWHUB_PG_STATEMENT_SECONDS": "2", "FLOWHUB_PG_LOCK_SECONDS": "1", "FLOWHUB_PG_ACQUIRE_SECONDS": "1",
    ]

    private static func expectRejection(_ hub: HubProcess, _ flow: String, within limit: Duration) async throws {
        let start = ContinuousClock.now
        let reply = try await hub.call(
            "PATCH", "/v1/flows/\(flow)/state", headers: [("Content-Type", "application/json")], body: #"{"n":1}"#)
        #expect(reply.status == 503, "\(reply.text)")
        #expect(reply.header("retry-after") != nil || reply.problemCode == "outcome_unknown")
        #expect(reply.json.member("detail")?.stringValue?.isEmpty == false)
        #expect(ContinuousClock.now - start < limit)
    }

    @Test(arguments: PostgresHubs.Route.allCases)
    func blockedStatementTimesOutWithoutDelayingOthers(_ route: PostgresHubs.Route) async throws {
        let server = try SharedPostgres.server
        try await PostgresHubs.running(1, on: server, by: route, Self.limits) { hubs in
            #expect(try await hubs[0].api.put("job", try jsonText(#"{"n":0}"#)).isAcknowledged)
            let database = try #require(try await Self.database(of: "job", on: server))
            let folder = try TemporaryFolder()
            defer { folder.remove() }
            try Postgres.changeOwner(folder.path)
            let holder = try Postgres.start(
                "psql",
                [
                    "-X", "-d", server.url(database), "-c",
                    "BEGIN; SELECT FROM flows WHERE id = 'job' FOR UPDATE; SELECT pg_sleep(60)",
                ],
                folder: folder.path)
            do {
                try await eventually("the row to be locked") {
                    try await server.query(
                        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)%' AND wait_event = 'PgSleep'",
                        in: database) == "1"
                }
                async let rejection: Void = Self.expectRejection(hubs[0], "job", within: .seconds(6))
                // Reads continue, and so do changes of every other flow.
                #expect(try await hubs[0].api.state(of: "job")?.state.string == #"{"n":0}"#)
                let api = hubs[0].api
                var slowest = Duration.zero
                for number in 0..<40 {
                    let started = ContinuousClock.now
                    #expect(try await api.patch("other-\(number % 8)", try jsonText(#"{"n":\#(number)}"#)).isAcknowledged)
                    slowest = max(slowest, ContinuousClock.now - started)
                }
                #expect(slowest < .milliseconds(700), "another flow's change took \(slowest)")
                try await rejection
                #expect(try await api.isReady(), "a locked row must not make the store unavailable")
            } catch {
                await holder.destroy()
                throw error
            }
            await holder.destroy()
            try await eventually("the row to be unlocked") {
                _ = try await server.query(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)%' AND pid <> pg_backend_pid()",
                    in: database)
                return try await hubs[0].api.patch("job", try jsonText(#"{"n":2}"#)).isAcknowledged
            }
        }
    }

    /// The test database that contains this flow.
    private static func database(of flow: String, on server: PostgresServer) async throws -> String? {
        let names = try await server.query("SELECT datname FROM pg_database WHERE datname LIKE 'test_%'", in: "postgres")
        for name in names.split(separator: "\n").map({ String($0) }).reversed() {
            let count = try? await server.query("SELECT count(*) FROM flows WHERE id = '\(flow)'", in: name)
            if count == "1" { return name }
        }
        return nil
    }

    @Test func recoversFromExhaustedAndRestartedPooler() async throws {
        let server = try SharedPostgres.server
        let url = try await server.createDatabase()
        // Start once without the pooler, because a concurrent index build needs two connections.
        try await PostgresHubs.start(1, server.url(url), [:]) { hubs in #expect(hubs[0].isRunning) }
        try await PgBouncer.running(before: server, poolSize: 1) { bouncer in
            try await PostgresHubs.start(1, bouncer.url(url), Self.limits) { hubs in
                let api = hubs[0].api
                #expect(try await api.put("job", try jsonText(#"{"n":0}"#)).isAcknowledged)
                let stream = EventStreamClient(.flow("job"), port: hubs[0].port)
                try await stream.connect()
                _ = try await stream.next(event: "caught_up")
                let folder = try TemporaryFolder()
                defer { folder.remove() }
                try Postgres.changeOwner(folder.path)
                let holder = try Postgres.start(
                    "psql", ["-X", "-d", bouncer.url(url), "-c", "SELECT pg_sleep(8)"], folder: folder.path)
                try await eventually("the pooler's only connection to be in use") {
                    try await server.query(
                        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(8)%' AND wait_event = 'PgSleep'",
                        in: url)
                        == "1"
                }
                try await Self.expectRejection(hubs[0], "job", within: .seconds(8))
                _ = try await holder.waitForExit(within: .seconds(20))
                try await eventually("writes to work again", within: .seconds(15)) {
                    try await api.patch("job", try jsonText(#"{"n":1}"#)).isAcknowledged
                }
                try await bouncer.kill()
                try await Self.expectRejection(hubs[0], "job", within: .seconds(6))
                #expect(stream.isConnected)
                try await bouncer.start()
                try await eventually("writes to work again", within: .seconds(15)) {
                    try await api.patch("job", try jsonText(#"{"n":2}"#)).isAcknowledged
                }
                try await stream.waitUntil("the last update") { log in
                    log.events("state_update").last?.json.member("updates")?.string == #"{"n":2}"# ? () : nil
                }
                #expect(stream.log.connections.count == 1)
            }
        }
    }
}
