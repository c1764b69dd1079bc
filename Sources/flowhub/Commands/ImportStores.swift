import FlowCore
import FlowEmbedded
import FlowPostgres

/// The stores of imports, opened by a command itself, beside a hub that may run.
struct ImportStores {
    let service: ImportService
    let housekeeping: (any ObjectMaintenance)?
    private let store: HubStore
    private let objects: HubObjectStorage
    private let configuration: HubConfiguration

    /// Runs with the stores that a hub with this environment would use, and closes them.
    static func run<Value>(_ location: StoreLocation, _ body: (ImportStores) async throws -> Value) async throws -> Value {
        #if DEBUG
        FaultInjection.plant()
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
            throw (error as? ImportError).map { CommandFailure(.unreachable, "\($0.words)") } ?? error
        }
    }

    private init(_ store: HubStore, _ configuration: HubConfiguration) throws {
        let counters = MemoryCounters(now: SystemClock.now)
        let objects = try HubObjectStorage(configuration, counters: counters, logger: StoreLocation.logger)
        // What it commits of flows, a hub that runs finds in the store.
        let manager = StateManager(
            store: store.flows, cache: MemoryStateCache(limits: .init()), transients: MemoryTransientStore(limits: .init()),
            bus: InProcessBus(), counters: counters, health: HubHealth()
        ) { _ in }
        self.service = objects.service(
            store, manager: manager, cache: MemoryImportCache(bytes: configuration.importCacheBytes, now: SystemClock.now),
            counters: counters, configuration: configuration.imports, logger: StoreLocation.logger)
        self.housekeeping = objects.housekeeping
        self.store = store
        self.objects = objects
        self.configuration = configuration
    }

    private func close() async {
        await self.objects.close()
        await self.store.close()
    }

    /// Every import of every account, in the order of their ids.
    func each(_ body: (Import) async throws -> Void) async throws {
        var after: ImportID?
        while true {
            let page = try await self.store.imports.imports(after: after, limit: 100)
            for entry in page { try await body(entry) }
            guard let last = page.last else { return }
            after = last.id
        }
    }

    /// Holds, for the time of the body, what only one process may have.
    func alone<Value>(_ body: () async throws -> Value) async throws -> Value {
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
        let lock = MoveLock(self.store.locks)
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
    /// For whoever typed the command.
    var words: String {
        switch self {
        case .objects(.unavailable(let reason)): "The object store cannot be had now: \(reason)"
        case .objects(.refused(let reason)): "The object store refuses: \(reason)"
        case .objects(let error): "The object store failed: \(error)"
        case .store(let error): "The store failed: \(error)"
        case .damaged(let what): what
        case .takenOver: "Another process took the import over."
        default: "\(self)"
        }
    }
}
