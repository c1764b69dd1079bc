import FlowCore
import FlowEmbedded
import FlowHTTP
import Foundation
import Logging

/// A hub of this process: the one place that names concrete types.
struct Hub {
    let server: HubServer
    private let store: HubStore

    /// - Throws: what keeps the hub from starting, in words for whoever started it.
    init(
        _ configuration: HubConfiguration, logger: Logger, onListening: @escaping @Sendable (_ host: String, _ port: Int) -> Void
    ) async throws {
        let verifier = try await TokenVerifier(configuration.access)
        let cors = try CORSPolicy(origins: configuration.access.corsOrigins)
        let now = SystemClock.now
        let store = try await HubStore.openToServe(configuration, logger: logger)

        let bus = InProcessBus()
        var cacheLimits = MemoryStateCache.Limits()
        cacheLimits.bytes = configuration.cacheBytes
        let cache = MemoryStateCache(limits: cacheLimits)
        var transientLimits = MemoryTransientStore.Limits()
        transientLimits.flow = configuration.streams.transients
        let transients = MemoryTransientStore(limits: transientLimits)
        let patterns = MemoryPatternStore(limits: configuration.patterns, now: now)
        let counters = MemoryCounters(now: now)
        let health = HubHealth()

        let (work, workFeed) = AsyncStream.makeStream(of: WatchTable.Work.self)
        let table = WatchTable(bus: bus, epoch: store.flows.epoch) { workFeed.yield($0) }
        bus.attach(table)
        let manager = StateManager(
            store: store.flows, cache: cache, transients: transients, bus: bus, outbox: store.outbox, counters: counters,
            health: health
        ) { table.reset(to: $0) }
        let relay = store.outbox.map { OutboxRelay(outbox: $0, manager: manager, bus: bus, logger: logger) }
        let hubLoop = HubLoop(
            manager: manager, table: table, cache: cache, revocations: store.flows, relay: relay, health: health, work: work,
            configuration: configuration.loop, now: now, logger: logger)

        self.store = store
        self.server = HubServer(
            instance: configuration.instance, version: FlowHub.version, http: configuration.http, streams: configuration.streams,
            dependencies: HubServer.Dependencies(
                manager: manager, table: table, hubLoop: hubLoop, health: health, registry: MemoryConnectionRegistry(),
                revocations: store.flows, locks: store.locks, patterns: patterns, counters: counters, verifier: verifier,
                cors: cors, now: now),
            logger: logger, onListening: onListening)
    }

    /// After the server has ended: writes what is under way and lets go of the store.
    func close() async { await self.store.close() }
}

/// The wall clock. Everything else is told what time it is.
enum SystemClock {
    static let now: @Sendable () -> Timestamp = {
        Timestamp(milliseconds: Int64(Date().timeIntervalSince1970 * 1000))
    }
}
