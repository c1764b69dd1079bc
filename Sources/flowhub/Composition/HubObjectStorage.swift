import FlowCore
import FlowEmbedded
import FlowObjects
import Logging

/// The object store of imports, with the codec and the low-priority threads for import work.
struct HubObjectStorage {
    let pool: WorkerPool
    let codec: GzipCodec
    /// `nil` without `FLOWHUB_IMPORT_KEYS`.
    let keyring: ImportKeyring?
    /// The object store; `nil`: records of imports are stored as database rows.
    let store: CountedObjectStore?
    let objectMaintenance: (any ObjectMaintenance)?
    /// `nil`: the object store is not R2.
    let r2: R2ObjectStore?

    /// Uses R2 if it is configured and enabled. Otherwise uses a directory next to the embedded store. With Postgres or with
    /// `R2_ENABLED=false` there is then no object store: instances on one Postgres database do not share a directory.
    /// - Throws: an error if the R2 settings are invalid or the directory cannot be used.
    init(
        _ configuration: HubConfiguration, keyring: ImportKeyring?, counters: any Counters, logger: Logger
    ) throws {
        MallocTuning.useMmapForLargeBlocks()
        self.keyring = keyring
        self.pool = WorkerPool(threads: configuration.bulkThreads > 0 ? configuration.bulkThreads : ProcessorCount.allowed())
        self.codec = GzipCodec(level: configuration.compressionLevel, pool: self.pool)
        if let settings = configuration.r2 {
            let r2 = try R2ObjectStore(settings, logger: logger, now: SystemClock.now) { operation in
                logger.debug(
                    "R2 operation",
                    metadata: [
                        "operation": "\(operation.name)", "bytes": .stringConvertible(operation.bytes),
                        "duration": "\(operation.duration)", "success": "\(operation.isSuccess)",
                    ])
            }
            self.r2 = r2
            self.store = CountedObjectStore(r2, counters: counters, now: SystemClock.now, logger: logger)
            self.objectMaintenance = r2
        } else if configuration.isR2Enabled, configuration.postgres == nil {
            let folder = try FolderObjectStore(folder: configuration.dataDirectory + "/objects", now: SystemClock.now)
            self.r2 = nil
            self.store = CountedObjectStore(folder, counters: nil, now: SystemClock.now, logger: logger)
            self.objectMaintenance = folder
        } else {
            (self.r2, self.store, self.objectMaintenance) = (nil, nil, nil)
        }
    }

    /// Creates the import service. It stores records in the object store, or without one as rows in `store`.
    /// - Parameter localCache: a cache in the memory of this process; may be the same as `cache`.
    func service(
        _ store: HubStore, manager: StateManager, cache: any ImportCache, localCache: any ImportCache, counters: any Counters,
        configuration: ImportConfiguration, logger: Logger
    ) -> ImportService {
        ImportService(
            .init(
                ledger: store.imports, maintenance: store.imports, records: store.imports, objects: self.store,
                objectMaintenance: self.objectMaintenance, codec: self.codec, cache: cache,
                localCache: localCache, keyring: self.keyring, counters: counters, manager: manager, executor: self.pool),
            configuration: configuration, now: { store.clock.now() }, logger: logger)
    }

    /// Closes the connections to R2 and ends the threads for import work. Called when no import is in progress.
    func close() async {
        await self.r2?.close()
        self.pool.close()
    }
}
