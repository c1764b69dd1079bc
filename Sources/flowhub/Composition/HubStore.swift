import FlowCore
import FlowEmbedded
import FlowHTTP
import FlowPostgres
import Logging

/// The truth of a hub: Postgres if `DATABASE_URL` names one, else SQLite in a folder; with what else is kept there.
struct HubStore {
    let flows: any FlowStore & FencingSequence & RevocationStore & FlowArchive
    /// Names the store's data; random, and alike for all instances on it.
    let hubID: String
    let locks: any LockService
    let outbox: (any Outbox)?
    let imports: any ImportLedger & ImportMaintenance & RecordStore
    let close: @Sendable () async -> Void
    /// Of the embedded store's folder, for a hub that serves from it.
    private var folder: DataFolderLock?

    /// The store of a hub that serves: where it is a folder, no other one may.
    static func openToServe(_ configuration: HubConfiguration, logger: Logger) async throws -> HubStore {
        // Before the database is opened, so that a refused hub leaves no trace in it.
        let folder = configuration.postgres == nil ? try DataFolderLock(directory: configuration.dataDirectory) : nil
        var store = try await Self.open(configuration, logger: logger)
        store.folder = folder
        return store
    }

    /// The store, also beside a hub that serves from it.
    static func open(_ configuration: HubConfiguration, logger: Logger) async throws -> HubStore {
        if let settings = configuration.postgres {
            return try await Self.postgres(settings, configuration, logger: logger)
        }
        var store = SQLiteFlowStore.Configuration()
        store.changes = configuration.http.changeLimits
        store.limits = configuration.store
        let flows = try SQLiteFlowStore(
            directory: configuration.dataDirectory, configuration: store, now: SystemClock.now(), logger: logger)
        return HubStore(
            flows: flows, hubID: flows.hubID, locks: MemoryLockService(fencing: flows), outbox: nil,
            imports: SQLiteImportLedger(flows),
            close: { await flows.close() })
    }

    private static func postgres(
        _ settings: PostgresSettings, _ configuration: HubConfiguration, logger: Logger
    ) async throws -> HubStore {
        let runner = MigrationRunner(settings, logger: logger)
        if configuration.migrates {
            _ = try await runner.run()
        } else {
            try await runner.check()
        }
        var store = PostgresFlowStore.Configuration()
        store.changes = configuration.http.changeLimits
        store.limits = configuration.store
        store.usesOutbox = configuration.outbox == "on" || (configuration.outbox == "auto" && configuration.redis != nil)
        let flows = try await PostgresFlowStore.open(
            settings, configuration: store, now: SystemClock.now(), logger: logger)
        return HubStore(
            flows: flows, hubID: flows.hubID, locks: PostgresLockService(flows),
            outbox: store.usesOutbox ? PostgresOutbox(flows) : nil, imports: PostgresImportLedger(flows),
            close: { await flows.close() })
    }
}
