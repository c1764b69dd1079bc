import FlowCore
import FlowEmbedded
import FlowHTTP
import FlowRedis
import Foundation
import Logging

/// A hub of this process: the one place that names concrete types.
struct Hub {
    let server: HubServer
    private let store: HubStore
    private let redis: RedisServices?
    private let objects: HubObjectStorage

    /// - Throws: what keeps the hub from starting, in words for whoever started it.
    init(
        _ configuration: HubConfiguration, logger: Logger, onListening: @escaping @Sendable (_ host: String, _ port: Int) -> Void
    ) async throws {
        let verifier = try await TokenVerifier(configuration.access)
        let cors = try CORSPolicy(origins: configuration.access.corsOrigins)
        let now = SystemClock.now
        let store = try await HubStore.openToServe(configuration, logger: logger)

        let health = HubHealth()
        let ownCounters = MemoryCounters(now: now)
        let redis = try configuration.redis.map { settings throws(RedisError) in
            try RedisServices(
                settings, instance: configuration.instance, hubID: store.hubID, configuration: configuration.redisServices,
                counters: ownCounters, epoch: { store.flows.epoch }, now: now, logger: logger,
                onDelivery: { health.busChanged(isDelivering: $0) })
        }
        // Until the first canary has come back.
        if redis != nil { health.busChanged(isDelivering: false) }
        if let redis {
            do {
                try await redis.start()
            } catch {
                await redis.close()
                await store.close()
                throw error
            }
        }
        let bus: any EventBus = redis?.bus ?? InProcessBus()
        var cacheLimits = MemoryStateCache.Limits()
        cacheLimits.bytes = configuration.cacheBytes
        let cache = MemoryStateCache(limits: cacheLimits)
        var transientLimits = MemoryTransientStore.Limits()
        transientLimits.flow = configuration.streams.transients
        let ownTransients = MemoryTransientStore(limits: transientLimits)
        let transients: any TransientStore =
            redis?.transients(local: ownTransients, limits: transientLimits.flow, seconds: transientLimits.seconds)
            ?? ownTransients
        let counters: any Counters = redis?.counters ?? ownCounters
        let patterns: any MappingPatternStore = redis?.patterns ?? MemoryMappingPatternStore(limits: configuration.patterns, now: now)

        let (work, workFeed) = AsyncStream.makeStream(of: WatchTable.WorkItem.self)
        let table = WatchTable(bus: bus, epoch: store.flows.epoch) { workFeed.yield($0) }
        bus.attach(table)
        let manager = StateManager(
            store: store.flows, cache: cache, transients: transients, bus: bus, outbox: store.outbox, shared: redis?.states,
            counters: counters,
            health: health
        ) { table.reset(to: $0) }
        let relay = store.outbox.map { OutboxRelay(outbox: $0, manager: manager, bus: bus, logger: logger) }
        // Without keys there is one account, and a flow that is not there yet is its; with them nobody knows whose it would be.
        let foreign: ForeignUpdateApplier? =
            configuration.redisServices.foreign == .apply && redis != nil
            ? ForeignUpdateApplier(
                newcomersAccount: configuration.access.isOpen ? Principal.open.account : nil, now: now, logger: logger) : nil
        if let foreign { redis?.applyForeign(to: foreign) }
        let hubLoop = BackgroundTasks(
            manager: manager, table: table, cache: cache, revocations: store.flows, relay: relay, foreign: foreign,
            health: health, work: work,
            configuration: configuration.loop, now: now, logger: logger)

        let objects = try HubObjectStorage(configuration, counters: counters, logger: logger)
        let importCache: any ImportCache =
            redis?.imports ?? MemoryImportCache(bytes: configuration.importCacheBytes, now: now)
        let imports = objects.service(
            store, manager: manager, cache: importCache, counters: counters, configuration: configuration.imports, logger: logger)
        let storage = StorageHealth(
            objects: objects.store, manager: manager, bus: bus,
            providers: .init(bus: redis == nil ? "in-process" : "redis", database: store.imports.provider),
            instance: configuration.instance, seconds: configuration.storageHealthSeconds, now: now)

        self.store = store
        self.objects = objects
        self.redis = redis
        self.server = HubServer(
            instance: configuration.instance, version: FlowHub.version, http: configuration.http, streams: configuration.streams,
            dependencies: HubServer.Dependencies(
                manager: manager, table: table, bus: bus, hubLoop: hubLoop, health: health,
                registry: redis?.registry ?? MemoryConnectionRegistry(),
                revocations: store.flows, locks: redis?.locks(fencing: store.flows) ?? store.locks, patterns: patterns,
                counters: counters, imports: imports, storage: storage, verifier: verifier, cors: cors, now: now),
            logger: logger, onListening: onListening)
    }

    /// After the server has ended: writes what is under way and lets go of the store.
    func close() async {
        await self.objects.close()
        await self.redis?.close()
        await self.store.close()
    }
}

/// The wall clock. Everything else is told what time it is.
enum SystemClock {
    static let now: @Sendable () -> Timestamp = {
        Timestamp(milliseconds: Int64(Date().timeIntervalSince1970 * 1000))
    }
}
