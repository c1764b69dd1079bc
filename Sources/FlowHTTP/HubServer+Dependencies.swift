public import FlowCore

extension HubServer {
    /// The services that the server exposes. The code that starts the process chooses their concrete types.
    public struct Dependencies: Sendable {
        public var manager: StateManager
        public var table: WatchTable
        public var bus: any EventBus
        public var backgroundTasks: BackgroundTasks
        public var health: HubHealth
        public var registry: any ConnectionRegistry
        public var revocations: any RevocationStore
        public var locks: any LockService
        public var patterns: any MappingPatternStore
        public var counters: any Counters
        public var imports: ImportService
        public var storage: StorageHealth
        public var verifier: TokenVerifier
        public var cors: CORSPolicy
        public var proxies: TrustedProxies
        public var clock: HubClock
        /// Number of log lines that were dropped because they could not be written fast enough.
        public var droppedLogLines: @Sendable () -> Int
        var now: @Sendable () -> Timestamp {
            let clock = self.clock
            return { clock.now() }
        }

        public init(
            manager: StateManager, table: WatchTable, bus: any EventBus, backgroundTasks: BackgroundTasks, health: HubHealth,
            registry: any ConnectionRegistry,
            revocations: any RevocationStore, locks: any LockService, patterns: any MappingPatternStore, counters: any Counters,
            imports: ImportService, storage: StorageHealth,
            verifier: TokenVerifier,
            cors: CORSPolicy, proxies: TrustedProxies, clock: HubClock, droppedLogLines: @escaping @Sendable () -> Int
        ) {
            self.manager = manager
            self.table = table
            self.bus = bus
            self.backgroundTasks = backgroundTasks
            self.health = health
            self.registry = registry
            self.revocations = revocations
            self.locks = locks
            self.patterns = patterns
            self.counters = counters
            self.imports = imports
            self.storage = storage
            self.verifier = verifier
            self.cors = cors
            self.proxies = proxies
            self.clock = clock
            self.droppedLogLines = droppedLogLines
        }
    }
}
