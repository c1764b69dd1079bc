import FlowCore
import FlowTestKit
import Logging
import Synchronization

@testable import FlowPostgres

let start = Timestamp(milliseconds: 1_700_000_000_000)
let logger: Logger = {
    var logger = Logger(label: "test")
    logger.logLevel = .error
    return logger
}()

/// Creates a database with the hub's schema: a copy of a template database, which is created once per server.
func newDatabase(on server: PostgresServer) async throws -> String {
    let template = "flowhub_template"
    let exists = try await server.query("SELECT count(*) FROM pg_database WHERE datname = '\(template)'", in: "postgres")
    if exists == "0" {
        try await server.query("CREATE DATABASE \(template) TEMPLATE template0", in: "postgres")
        _ = try await MigrationRunner(PostgresSettings(url: server.url(template)), logger: logger).run()
        // Tombstones end from a day after the migration on.
        try await server.query("UPDATE schema_migrations SET applied_at = applied_at - interval '2 days'", in: template)
    }
    return try await server.createDatabase(from: template)
}

func openStore(
    _ url: String, _ configuration: PostgresFlowStore.Configuration = .init(),
    settings: (inout PostgresSettings) -> Void = { _ in }
) async throws -> PostgresFlowStore {
    var all = PostgresSettings(url: url)
    settings(&all)
    return try await PostgresFlowStore.open(all, configuration: configuration, now: start, logger: logger)
}

/// Runs the body with a store in a new database, and closes the store afterwards.
func withStore(
    on server: PostgresServer, _ configuration: PostgresFlowStore.Configuration = .init(),
    settings: (inout PostgresSettings) -> Void = { _ in }, _ body: (PostgresFlowStore, String) async throws -> Void
) async throws {
    let database = try await newDatabase(on: server)
    let store = try await openStore(server.url(database), configuration, settings: settings)
    do {
        try await body(store, database)
    } catch {
        await store.close()
        throw error
    }
    await store.close()
}

/// The currently open store of a contract's subject.
final class CurrentStore: Sendable {
    private let store: Mutex<PostgresFlowStore>
    private let url: String

    init(_ url: String) async throws {
        self.url = url
        self.store = Mutex(try await openStore(url))
    }

    var value: PostgresFlowStore { self.store.withLock { $0 } }

    var subject: FlowStoreContract.Subject {
        FlowStoreContract.Subject(
            store: self.value,
            reopen: { limits in
                await self.value.close()
                var configuration = PostgresFlowStore.Configuration()
                configuration.changes.account = limits
                let store = try await openStore(self.url, configuration)
                self.store.withLock { $0 = store }
                return store
            },
            raiseEpochElsewhere: {
                let other = try await openStore(self.url)
                _ = try await other.raiseEpoch(from: other.epoch, now: start)
                await other.close()
            })
    }

    /// Runs a contract's test case on a separate store.
    static func run(_ promise: FlowStoreContract.Case, _ url: String) async throws {
        let current = try await CurrentStore(url)
        do {
            try await promise.run(current.subject)
        } catch {
            await current.value.close()
            throw error
        }
        await current.value.close()
    }
}
