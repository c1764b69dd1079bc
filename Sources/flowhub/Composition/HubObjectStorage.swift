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
    /// The object store; `nil`: there is none, and records of imports are stored as database rows.
    let store: CountedObjectStore?
    let objectMaintenance: (any ObjectMaintenance)?
    /// `nil`: the object store is not R2.
    let r2: R2ObjectStore?

    /// Uses R2 if it is configured. Otherwise uses a directory next to the embedded store; with Postgres there is then no object
    /// store, because instances on one Postgres database do not share a directory. With `R2_ENABLED=false` the object store is
    /// only read, and R2 settings that cannot be used are logged.
    /// - Throws: an error if the R2 settings are invalid or the directory cannot be used.
    init(
        _ configuration: HubConfiguration, keyring: ImportKeyring?, counters: any Counters, logger: Logger
    ) throws {
        MallocTuning.useMmapForLargeBlocks()
        self.keyring = keyring
        self.pool = WorkerPool(threads: configuration.bulkThreads > 0 ? configuration.bulkThreads : ProcessorCount.allowed())
        self.codec = GzipCodec(level: configuration.compressionLevel, pool: self.pool)
        if let r2 = try Self.openR2(configuration, logger: logger) {
            self.r2 = r2
            self.store = CountedObjectStore(r2, counters: counters, now: SystemClock.now, logger: logger)
            self.objectMaintenance = r2
        } else if configuration.postgres == nil {
            let folder = try FolderObjectStore(folder: configuration.dataDirectory + "/objects", now: SystemClock.now)
            self.r2 = nil
            self.store = CountedObjectStore(folder, counters: nil, now: SystemClock.now, logger: logger)
            self.objectMaintenance = folder
        } else {
            (self.r2, self.store, self.objectMaintenance) = (nil, nil, nil)
        }
    }

    /// Opens R2; `nil` if it is not configured, or with `R2_ENABLED=false` cannot be used.
    private static func openR2(_ configuration: HubConfiguration, logger: Logger) throws(R2SettingsError) -> R2ObjectStore? {
        var problem = configuration.unusableR2
        if let settings = configuration.r2 {
            do throws(R2SettingsError) {
                return try R2ObjectStore(settings, logger: logger, now: SystemClock.now) { operation in
                    logger.debug(
                        "R2 operation",
                        metadata: [
                            "operation": "\(operation.name)", "bytes": .stringConvertible(operation.bytes),
                            "duration": "\(operation.duration)", "success": "\(operation.isSuccess)",
                        ])
                }
            } catch {
                if configuration.isR2Enabled { throw error }
                problem = "\(error)"
            }
        }
        if let problem {
            logger.warning(
                "R2 settings cannot be used, so imports in R2 cannot be read (R2_ENABLED is false)",
                metadata: ["error": "\(problem)"])
        }
        return nil
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
