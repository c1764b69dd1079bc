import FlowCore
import FlowEmbedded
import FlowHTTP
import Foundation
import Logging

/// A hub on its embedded defaults: SQLite in a folder, everything else in this process. The one place that names concrete
/// types.
struct EmbeddedHub {
    let server: HubServer
    let store: SQLiteFlowStore

    /// - Throws: what keeps the hub from starting, in words for whoever started it.
    init(
        _ configuration: HubConfiguration, logger: Logger, onListening: @escaping @Sendable (_ host: String, _ port: Int) -> Void
    ) async throws {
        let verifier = try await TokenVerifier(configuration.access)
        let cors = try CORSPolicy(origins: configuration.access.corsOrigins)
        let now = SystemClock.now

        var storeConfiguration = SQLiteFlowStore.Configuration()
        storeConfiguration.changes = configuration.http.changeLimits
        let store = try SQLiteFlowStore(
            directory: configuration.dataDirectory, configuration: storeConfiguration, now: now(), logger: logger)
        let bus = InProcessBus()
        var cacheLimits = MemoryStateCache.Limits()
        cacheLimits.bytes = configuration.cacheBytes
        let cache = MemoryStateCache(limits: cacheLimits)
        let transients = MemoryTransientStore()
        let counters = MemoryCounters(now: now)
        let health = HubHealth()

        let (work, workFeed) = AsyncStream.makeStream(of: WatchTable.Work.self)
        let table = WatchTable(bus: bus, epoch: store.epoch) { workFeed.yield($0) }
        bus.attach(table)
        let manager = StateManager(
            store: store, cache: cache, transients: transients, bus: bus, counters: counters, health: health
        ) { table.reset(to: $0) }
        let hubLoop = HubLoop(
            manager: manager, table: table, cache: cache, revocations: store, health: health, work: work,
            configuration: configuration.loop, now: now, logger: logger)

        self.store = store
        self.server = HubServer(
            instance: configuration.instance, version: FlowHub.version, http: configuration.http, streams: configuration.streams,
            dependencies: HubServer.Dependencies(
                manager: manager, table: table, hubLoop: hubLoop, health: health, registry: MemoryConnectionRegistry(),
                revocations: store, locks: MemoryLockService(fencing: store), counters: counters, verifier: verifier, cors: cors,
                now: now),
            logger: logger, onListening: onListening)
    }
}

/// The wall clock. Everything else is told what time it is.
enum SystemClock {
    static let now: @Sendable () -> Timestamp = {
        Timestamp(milliseconds: Int64(Date().timeIntervalSince1970 * 1000))
    }
}
