import FlowCore
import FlowTestKit
import Testing

/// A database that is read-only for a while: readiness shows it, and every hub recovers without a restart.
@Suite(.serialized, .postgres()) struct ReadOnlyDatabaseTests {
    /// Connections of one hub with the default settings.
    private static let connections = 11

    @Test func hubsRecoverFromReadOnlyRole() async throws {
        let server = try SharedPostgres.server
        let database = try await server.createDatabase()
        // Not the superuser of the tests, whose own sessions would be read-only too.
        try await server.query("CREATE ROLE hub LOGIN; ALTER DATABASE \(database) OWNER TO hub", in: "postgres")
        let url = "postgres://hub@127.0.0.1:\(server.port)/\(database)"
        try await PostgresHubs.start(2, url, [:]) { hubs in
            for hub in hubs { try await Self.expectWrites(on: hub) }
            try await server.query("ALTER ROLE hub SET default_transaction_read_only = on", in: "postgres")
            // All sessions are replaced by ones that are read-only until they end.
            try await Self.replaceSessions(server, of: hubs.count)
            for hub in hubs {
                try await eventually("the failure of a change") {
                    try await hub.api.publish("rejected", .null, to: "f").status == 503
                }
                let ready = try await hub.api.call("GET", "/health/ready")
                #expect(ready.status == 503 && ready.json.member("status")?.stringValue == "store_away")
                #expect(hub.log.contains("Postgres is read-only"))
            }
            try await server.query("ALTER ROLE hub RESET default_transaction_read_only", in: "postgres")
            for hub in hubs {
                try await eventually("readiness", within: .seconds(8)) { try await hub.api.isReady() }
                // Readiness is true: a change on any connection succeeds.
                try await Self.expectWrites(on: hub)
                #expect(hub.log.contains("Postgres accepts writes again"))
            }
        }
    }

    /// A hub without changes notices by itself that the database accepts writes again: its first change succeeds.
    @Test func idleHubReplacesReadOnlySessions() async throws {
        let server = try SharedPostgres.server
        let database = try await server.createDatabase()
        try await server.query("CREATE ROLE idle LOGIN; ALTER DATABASE \(database) OWNER TO idle", in: "postgres")
        let url = "postgres://idle@127.0.0.1:\(server.port)/\(database)"
        try await PostgresHubs.start(1, url, [:]) { hubs in
            let hub = hubs[0]
            try await server.query("ALTER ROLE idle SET default_transaction_read_only = on", in: "postgres")
            try await Self.replaceSessions(server, of: 1, role: "idle")
            try await eventually("the log line") { hub.log.contains("Postgres is read-only") }
            try await eventually("readiness to tell") { try await !hub.api.isReady() }
            try await server.query("ALTER ROLE idle RESET default_transaction_read_only", in: "postgres")
            try await eventually("the log line", within: .seconds(8)) { hub.log.contains("Postgres accepts writes again") }
            try await eventually("readiness", within: .seconds(8)) { try await hub.api.isReady() }
            try await Self.expectWrites(on: hub)
        }
    }

    /// Expects changes to succeed on both connections for changes: the flow's id selects one of them.
    private static func expectWrites(on hub: HubProcess) async throws {
        for number in 0..<12 {
            let written = try await hub.api.publish("e", .null, to: "f\(number)")
            #expect(written.status == 201, "\(written.reply.text)")
        }
    }

    private static func replaceSessions(_ server: PostgresServer, of hubs: Int, role: String = "hub") async throws {
        let sessions = "FROM pg_stat_activity WHERE usename = '\(role)'"
        let before = Set(try await server.query("SELECT pid \(sessions)", in: "postgres").split(separator: "\n"))
        try await server.query("SELECT pg_terminate_backend(pid) \(sessions)", in: "postgres")
        try await eventually("new sessions") {
            let now = Set(try await server.query("SELECT pid \(sessions)", in: "postgres").split(separator: "\n"))
            return now.count >= hubs * Self.connections && now.isDisjoint(with: before)
        }
    }
}
