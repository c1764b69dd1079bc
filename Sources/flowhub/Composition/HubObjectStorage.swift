import FlowCore
import FlowEmbedded
import FlowObjects
import Logging

/// Where imports lie, and what works on them: threads of their own, behind those that serve.
struct HubObjectStorage {
    let pool: WorkerPool
    let codec: GzipCodec
    /// `nil`: records are rows of the store.
    let store: CountedObjectStore?
    let housekeeping: (any ObjectMaintenance)?
    private let r2: R2ObjectStore?

    /// R2 if it is configured; else a folder beside the embedded store, or the rows of a database that several instances share.
    init(_ configuration: HubConfiguration, counters: any Counters, logger: Logger) throws {
        MallocTuning.prepare()
        self.pool = WorkerPool(threads: configuration.bulkThreads > 0 ? configuration.bulkThreads : ProcessorCount.allowed())
        self.codec = GzipCodec(level: configuration.packLevel, pool: self.pool)
        if let settings = configuration.r2 {
            let r2 = try R2ObjectStore(settings, logger: logger, now: SystemClock.now) { operation in
                logger.debug(
                    "R2",
                    metadata: [
                        "operation": "\(operation.name)", "bytes": "\(operation.bytes)", "took": "\(operation.duration)",
                        "success": "\(operation.isSuccess)",
                    ])
            }
            self.r2 = r2
            self.store = CountedObjectStore(r2, counters: counters, now: SystemClock.now)
            self.housekeeping = r2
        } else if configuration.isR2Enabled, configuration.postgres == nil {
            let folder = try FolderObjectStore(folder: configuration.dataDirectory + "/objects", now: SystemClock.now)
            self.r2 = nil
            self.store = CountedObjectStore(folder, counters: nil, now: SystemClock.now)
            self.housekeeping = folder
        } else {
            (self.r2, self.store, self.housekeeping) = (nil, nil, nil)
        }
    }

    func service(
        _ store: HubStore, manager: StateManager, cache: any ImportCache, counters: any Counters,
        configuration: ImportConfiguration, logger: Logger
    ) -> ImportService {
        ImportService(
            .init(
                ledger: store.imports, chores: store.imports, records: store.imports, objects: self.store,
                housekeeping: self.housekeeping, codec: self.codec, cache: cache, counters: counters, manager: manager,
                executor: self.pool), configuration: configuration, now: SystemClock.now, logger: logger)
    }

    func close() async {
        await self.r2?.close()
        self.pool.close()
    }
}
