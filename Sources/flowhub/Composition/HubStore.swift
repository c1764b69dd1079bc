import FlowCore
import FlowEmbedded
import FlowHTTP
import FlowPostgres
import Logging

/// The store of a hub, with the services that are built on it: Postgres if `DATABASE_URL` is set, else the embedded store.
struct HubStore {
    let flows: any FlowStore & FencingSequence & RevocationStore & FlowArchive
    /// Random id of the store, the same for all instances on it.
    let hubID: String
    let locks: any LockService
    let outbox: (any Outbox)?
    let imports: any ImportLedger & ImportMaintenance & RecordStore & ImportRestoration
    /// The ledger of scheduled tasks.
    let tasks: any TaskLedger
    /// The clock by which everything on this store is measured. It was compared with the store's clock once.
    let clock: HubClock
    let close: @Sendable () async -> Void
    /// The lock on the embedded store's directory, held while a hub serves from it.
    private var folder: DataFolderLock?

    /// Opens the store for `serve`. Locks the directory of an embedded store, from which only one hub may serve.
    /// - Throws: `EmbeddedStoreError` if another hub serves from the directory; errors of ``open(_:logger:)``.
    static func openToServe(_ configuration: HubConfiguration, logger: Logger) async throws -> HubStore {
        // Locks the directory before it opens the database in it. Otherwise a second hub would already have changed the
        // database, for example migrated it, when it is rejected.
        let folder = configuration.postgres == nil ? try DataFolderLock(directory: configuration.dataDirectory) : nil
        if let settings = configuration.postgres {
            return try await Self.waitForPostgres(settings, configuration, logger: logger)
        }
        var store = try await Self.open(configuration, logger: logger)
        store.folder = folder
        return store
    }

    /// Opens the store without locking the directory of an embedded store: a hub may serve from it at the same time.
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
            flows: flows, hubID: flows.hubID, locks: MemoryLockService(fencing: flows, limits: configuration.locks), outbox: nil,
            imports: SQLiteImportLedger(flows), tasks: flows, clock: await Self.clock(logger) { SystemClock.now() },
            close: { await flows.close() })
    }

    /// Opens the Postgres store for `serve`. Waits up to `FLOWHUB_PG_START_SECONDS` for a database that is unavailable.
    /// - Throws: the `PostgresError` of the last attempt; at once if waiting cannot help.
    private static func waitForPostgres(
        _ settings: PostgresSettings, _ configuration: HubConfiguration, logger: Logger
    ) async throws -> HubStore {
        let deadline = ContinuousClock.now + .seconds(configuration.postgresStartSeconds)
        var backoff = Duration.milliseconds(250)
        while true {
            do {
                return try await Self.postgres(settings, configuration, logger: logger)
            } catch let error as PostgresError where error.isOutage && ContinuousClock.now < deadline {
                let pause = min(backoff * Double.random(in: 0.5...1), deadline - .now)
                logger.warning(
                    "Waiting for Postgres",
                    metadata: [
                        "error": "\(error.explanation)",
                        "seconds_left": .stringConvertible(max(0, (deadline - .now).components.seconds)),
                    ])
                try await Task.sleep(for: pause)
                backoff = min(backoff * 2, .seconds(5))
            }
        }
    }

    /// Applies missing migrations, or with `FLOWHUB_MIGRATE=false` checks that none is missing, and opens the Postgres
    /// store.
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
            flows: flows, hubID: flows.hubID, locks: PostgresLockService(flows, limits: configuration.locks),
            outbox: store.usesOutbox ? PostgresOutbox(flows) : nil, imports: PostgresImportLedger(flows), tasks: flows,
            clock: await Self.clock(logger) { () async throws(StoreError) in try await flows.time() },
            close: { await flows.close() })
    }

    /// Creates the clock and compares it with the store's clock.
    private static func clock(
        _ logger: Logger, reference: @escaping @Sendable () async throws(StoreError) -> Timestamp
    ) async -> HubClock {
        let clock = HubClock(wall: SystemClock.now, monotonic: SystemClock.monotonic, reference: reference, logger: logger)
        await clock.compare()
        return clock
    }
}
