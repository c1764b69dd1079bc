import FlowTestKit

/// Runs several hub instances on one Postgres database.
enum PostgresHubs {
    /// How the instances connect to the database.
    enum Route: String, CaseIterable, Sendable {
        case direct
        /// Through a PgBouncer in transaction mode.
        case pooled
    }

    /// Runs `count` instances on a new database while the body runs.
    static func running<Result: Sendable>(
        _ count: Int, on server: PostgresServer, by route: Route = .direct, _ environment: [String: String] = [:],
        _ body: @Sendable ([HubProcess]) async throws -> Result
    ) async throws -> Result {
        let database = try await server.createDatabase()
        switch route {
        case .direct:
            return try await Self.start(count, server.url(database), environment, body)
        case .pooled:
            return try await PgBouncer.running(before: server) { bouncer in
                try await Self.start(count, bouncer.url(database), environment, body)
            }
        }
    }

    static func start<Result: Sendable>(
        _ count: Int, _ url: String, _ environment: [String: String], _ body: ([HubProcess]) async throws -> Result
    ) async throws -> Result {
        var all = ["DATABASE_URL": url, "FLOWHUB_HISTORY_EVENTS": "10000000", "FLOWHUB_RETRY_MS": "50"]
        all.merge(environment) { $1 }
        return try await Self.nested(count, all, [], body)
    }

    private static func nested<Result: Sendable>(
        _ count: Int, _ environment: [String: String], _ hubs: [HubProcess], _ body: ([HubProcess]) async throws -> Result
    ) async throws -> Result {
        guard hubs.count < count else { return try await body(hubs) }
        return try await HubProcess.running(environment) { hub in
            try await Self.nested(count, environment, hubs + [hub], body)
        }
    }
}
