import FlowCore
import FlowEmbedded
import FlowHTTP
import FlowRedis
import Foundation
import Logging

/// The hub instance of this process. Chooses the implementations of the core's ports, for example Redis or in-process.
struct Hub {
    let server: HubServer
    let reloader: FileReloader
    private let store: HubStore
    private let redis: RedisServices?
    private let objects: HubObjectStorage

    /// Opens the store, connects to Redis if configured, and assembles the server. Does not listen yet.
    /// - Parameters:
    ///   - accessLogger: logs requests (`FLOWHUB_ACCESS_LOG`).
    ///   - droppedLogLines: the number of log lines that were dropped, for the metrics.
    ///   - onListening: called with the address and port of the socket, when the server listens.
    /// - Throws: the reason why the hub cannot start, with a readable description.
    init(
        _ configuration: HubConfiguration, logger: Logger, accessLogger: Logger,
        droppedLogLines: @escaping @Sendable () -> Int,
        onListening: @escaping @Sendable (_ host: String, _ port: Int) -> Void
    ) async throws {
        // Before the files are read: the start may wait for the store, and a file may change meanwhile.
        let keySetVersion = configuration.access.jwksPath.flatMap { FileVersion($0) }
        let importKeysVersion = configuration.importKeysPath.flatMap { FileVersion($0) }
        let keyring = try ImportKeyFile.keyring(configuration)
        let verifier = try await TokenVerifier(configuration.access)
        let cors = try CORSPolicy(origins: configuration.access.corsOrigins)
        let proxies = try TrustedProxies(
            configuration.access.trustedProxies, statement: .init(rawValue: configuration.access.forwarded) ?? .xForwardedFor)
        let store = try await HubStore.openToServe(configuration, logger: logger)
        let clock = store.clock
        let now: @Sendable () -> Timestamp = { clock.now() }

        let health = HubHealth()
        let ownCounters = MemoryCounters(now: now)
        let foreignMonitor = ForeignMessageMonitor(logger: logger)
        let foreign = Self.foreignUpdates(configuration, monitor: foreignMonitor, now: now, logger: logger)
        let redis = try configuration.redis.map { settings throws(RedisError) in
            try RedisServices(
                settings, instance: configuration.instance, hubID: store.hubID, configuration: configuration.redisServices,
                counters: ownCounters, foreignMonitor: foreignMonitor, applier: foreign, epoch: { store.flows.epoch }, now: now,
                logger: logger,
                onDelivery: { health.busChanged(isDelivering: $0) })
        }
        // Until the first canary has returned it is unknown whether Redis delivers, so the delivery status is degraded.
        if redis != nil { health.busChanged(isDelivering: false) }
        await redis?.start()
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
        let patterns: any MappingPatternStore =
            redis?.patterns ?? MemoryMappingPatternStore(limits: configuration.patterns, now: now)

        let (work, workContinuation) = AsyncStream.makeStream(of: WatchTable.WorkItem.self)
        let table = WatchTable(bus: bus, epoch: store.flows.epoch, foreignMonitor: foreignMonitor) { workContinuation.yield($0) }
        bus.attach(table)
        let manager = StateManager(
            store: store.flows, cache: cache, transients: transients, bus: bus, outbox: store.outbox, shared: redis?.states,
            counters: counters, health: health,
            // Only one instance serves from the embedded store.
            maximumAge: configuration.postgres == nil ? nil : .milliseconds(configuration.stateAgeMilliseconds)
        ) { epoch in
            logger.notice(
                "Epoch of the store changed (restore, failover, or `flowhub epoch bump`); streams get a snapshot",
                metadata: ["epoch": "\(epoch)"])
            table.reset(to: epoch)
        }
        let relay = store.outbox.map { OutboxRelay(outbox: $0, manager: manager, bus: bus, logger: logger) }
        let objects = try HubObjectStorage(configuration, keyring: keyring, counters: counters, logger: logger)
        let importCache = MemoryImportCache(bytes: configuration.importCacheBytes, now: now)
        let imports = objects.service(
            store, manager: manager, cache: redis?.imports ?? importCache, localCache: importCache, counters: counters,
            configuration: configuration.imports, logger: logger)
        let maintenance = Maintenance(
            manager: manager, imports: imports, ledger: store.tasks, instance: configuration.instance,
            pruneSeconds: configuration.background.pruneSeconds, configuration: configuration.tasks, clock: clock, logger: logger)
        let backgroundTasks = BackgroundTasks(
            manager: manager, table: table, cache: cache, revocations: store.flows, relay: relay, foreign: foreign,
            maintenance: maintenance, health: health, work: work, configuration: configuration.background, clock: clock,
            logger: logger)
        let storage = StorageHealth(
            objects: objects.store, share: configuration.imports.objectShare, manager: manager, bus: bus,
            providers: .init(bus: redis == nil ? "in-process" : "redis", database: store.imports.provider),
            instance: configuration.instance, seconds: configuration.storageHealthSeconds, now: now)

        var files: [FileReloader.File] = []
        if let path = configuration.access.jwksPath {
            files.append(.tokenKeys(path, keySetVersion, verifier, logger: logger))
        }
        if let path = configuration.importKeysPath, let keyring {
            files.append(.importKeys(path, importKeysVersion, keyring, logger: logger))
        }
        if let r2 = objects.r2 { files.append(.credentials(r2)) }
        self.reloader = FileReloader(files, health: health)
        self.store = store
        self.objects = objects
        self.redis = redis
        self.server = HubServer(
            instance: configuration.instance, version: FlowHub.version, http: configuration.http, streams: configuration.streams,
            dependencies: HubServer.Dependencies(
                manager: manager, table: table, bus: bus, backgroundTasks: backgroundTasks, health: health,
                registry: redis?.registry ?? MemoryConnectionRegistry(),
                revocations: store.flows, locks: redis?.locks(fencing: store.flows) ?? store.locks, patterns: patterns,
                counters: counters, imports: imports, storage: storage, verifier: verifier, cors: cors, proxies: proxies,
                clock: clock, droppedLogLines: droppedLogLines),
            logger: logger, accessLogger: accessLogger, onListening: onListening)
    }

    /// Applies foreign updates; `nil` if the policy is another one or the hub has no Redis. Without token keys there is only one
    /// account. With keys it is the one that `FLOWHUB_SEED_ACCOUNT` names, or else the owner of each flow.
    private static func foreignUpdates(
        _ configuration: HubConfiguration, monitor: ForeignMessageMonitor, now: @escaping @Sendable () -> Timestamp,
        logger: Logger
    ) -> ForeignUpdateApplier? {
        guard configuration.redis != nil, configuration.redisServices.foreign == .apply else { return nil }
        let account = configuration.redisServices.foreignAccount
        return ForeignUpdateApplier(
            account: account.isEmpty ? nil : account, limits: configuration.foreignLimits, monitor: monitor, now: now,
            logger: logger)
    }

    /// Closes the object store, Redis and the store, and waits for operations in flight. Called after the server has ended.
    func close() async {
        await self.objects.close()
        await self.redis?.close()
        await self.store.close()
    }
}

/// The clocks of this machine. The services of the hub read neither: they get the ``HubClock`` of the store as a parameter.
enum SystemClock {
    /// The wall clock.
    static let now: @Sendable () -> Timestamp = {
        Timestamp(milliseconds: Int64(Date().timeIntervalSince1970 * 1000))
    }

    private static let start = ContinuousClock.now
    /// Milliseconds since the first call, also while the machine sleeps.
    static let monotonic: @Sendable () -> Int64 = { Int64((ContinuousClock.now - Self.start) / .milliseconds(1)) }
}
