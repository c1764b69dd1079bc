import FlowCore
import FlowEmbedded
import FlowPostgres

/// The stores of imports, opened by a command instead of a hub. A hub may use them at the same time.
struct ImportStores {
    let service: ImportService
    let objectMaintenance: (any ObjectMaintenance)?
    private let store: HubStore
    private let objects: HubObjectStorage
    private let configuration: HubConfiguration

    /// Opens the stores that a hub with this environment would use, runs the body, and closes them.
    /// - Throws: ``CommandFailure``: `rejected` if a store cannot be opened, `usage` for an invalid setting, `unreachable` for
    ///   an ``ImportError`` of the body; other errors of the body unchanged.
    static func run<Value>(_ location: StoreLocation, _ body: (ImportStores) async throws -> Value) async throws -> Value {
        #if DEBUG
        FailpointSetting.arm()
        #endif
        let configuration = try location.configuration()
        let store = try await location.open(configuration)
        let stores: ImportStores
        do {
            stores = try ImportStores(store, configuration)
        } catch {
            await store.close()
            throw CommandFailure(.usage, "\(error)")
        }
        let interrupt = CommandRunner.exitOnInterrupt()
        defer { interrupt.end() }
        do {
            let value = try await body(stores)
            await stores.close()
            return value
        } catch {
            await stores.close()
            throw (error as? ImportError).map { CommandFailure(.unreachable, "\($0.message)") } ?? error
        }
    }

    private init(_ store: HubStore, _ configuration: HubConfiguration) throws {
        let counters = MemoryCounters(now: SystemClock.now)
        let objects = try HubObjectStorage(
            configuration, keyring: try ImportKeyFile.keyring(configuration), counters: counters, logger: StoreLocation.logger)
        // This process is not connected to Redis: a running hub finds the commits of this process with its version sweep.
        let manager = StateManager(
            store: store.flows, cache: MemoryStateCache(limits: .init()), transients: MemoryTransientStore(limits: .init()),
            bus: InProcessBus(), counters: counters, health: HubHealth()
        ) { _ in }
        let cache = MemoryImportCache(bytes: configuration.importCacheBytes, now: SystemClock.now)
        self.service = objects.service(
            store, manager: manager, cache: cache, localCache: cache,
            counters: counters, configuration: configuration.imports, logger: StoreLocation.logger)
        self.objectMaintenance = objects.objectMaintenance
        self.store = store
        self.objects = objects
        self.configuration = configuration
    }

    /// Whether the object store takes new imports: there is one, and `R2_ENABLED` is not false.
    var takesObjects: Bool { self.objectMaintenance != nil && self.configuration.isR2Enabled }

    /// The message of an error that concerns only this import, so that the command can go on with the others.
    /// - Throws: the error if the stores themselves fail.
    func message(_ error: ImportError, of id: ImportID) async throws(ImportError) -> String {
        guard await self.service.concernsOneImport(error, id) else { throw error }
        return error.message
    }

    /// Closes the object store and the store.
    private func close() async {
        await self.objects.close()
        await self.store.close()
    }

    /// Throws if this machine's clock differs from the store's, so that nothing is removed because of a wrong clock.
    func checkClock() async throws {
        guard await self.store.clock.compare() == nil else { return }
        guard self.store.clock.differs else {
            throw CommandFailure(.unreachable, "The store's clock cannot be read. Retry later.")
        }
        let seconds = self.store.clock.difference / 1_000
        throw CommandFailure(
            .rejected,
            "The clock of this machine and that of the store differ by \(abs(seconds)) s. Nothing was removed. Set the wrong clock, "
                + "then run the command again.")
    }

    /// An archive of imports in a directory, which is created if it does not exist.
    /// - Throws: ``CommandFailure`` of kind `usage` if it cannot be used.
    func archiver(_ directory: String) throws -> ImportArchiver {
        do throws(EmbeddedStoreError) {
            return ImportArchiver(
                self.service, restoration: self.store.imports,
                archive: try FolderObjectStore(folder: directory, now: SystemClock.now))
        } catch {
            throw CommandFailure(.usage, "\(error)")
        }
    }

    /// The ids of the ended imports whose event was not published yet.
    func unannounced() async throws -> Set<ImportID> {
        do throws(StoreError) {
            return Set(try await self.store.imports.unannounced(limit: Int(Int32.max)).map(\.id))
        } catch {
            throw ImportError.store(error)
        }
    }

    /// Calls the body with every import of every account, in the order of their ids.
    func forEachImport(_ body: (Import) async throws -> Void) async throws {
        var after: ImportID?
        while true {
            let page = try await self.store.imports.imports(after: after, limit: 100)
            for entry in page { try await body(entry) }
            guard let last = page.last else { return }
            after = last.id
        }
    }

    /// Runs the body under the lock that lets one process move imports at a time: a lock on the data directory of the embedded
    /// store, or a ``MoveLock`` in Postgres.
    /// - Throws: ``CommandFailure`` of kind `conditionFailed` if another process holds the lock.
    func withMoveLock<Value>(_ body: () async throws -> Value) async throws -> Value {
        guard self.configuration.postgres != nil else {
            let lock: DataFolderLock
            do throws(EmbeddedStoreError) {
                lock = try DataFolderLock(directory: self.configuration.dataDirectory, for: .move)
            } catch {
                throw CommandFailure(.conditionFailed, "\(error)")
            }
            defer { withExtendedLifetime(lock) {} }
            return try await body()
        }
        let lock = MoveLock(self.store.locks, now: { [clock = self.store.clock] in clock.now() })
        try await lock.acquire()
        do {
            let value = try await body()
            await lock.release()
            return value
        } catch {
            await lock.release()
            throw error
        }
    }
}

extension ImportError {
    /// The error as a message for the terminal.
    var message: String {
        switch self {
        case .objects(.unavailable(let reason)): "The object store is unavailable: \(reason)"
        case .objects(.rejected(let reason)): "The object store rejected the request: \(reason)"
        case .objects(let error): "The object store failed: \(error)"
        case .store(let error): "The store of imports failed: \(error)"
        case .storeNotConfigured: self.description
        case .claimLost: "Another process has claimed the import since. Run the command again later."
        default: self.unreadable ?? "\(self)"
        }
    }
}
