public import FlowCore
public import Logging
import NIOCore
import NIOPosix

/// All services that the hub bases on Redis. They share two connections on one event loop: one for commands and one for
/// subscriptions.
public final class RedisServices: Sendable {
    public struct Configuration: Sendable {
        /// `FLOWHUB_CANARY_MS`: milliseconds between two canaries.
        public var canaryMilliseconds: Int64 = 1_000
        /// `FLOWHUB_CANARY_BLIND_MS`: milliseconds without a received canary until delivery counts as degraded.
        public var canaryTimeoutMilliseconds: Int64 = 3_000
        /// `FLOWHUB_SEED_UPDATES`: policy for foreign messages, which programs other than a hub instance publish on
        /// Redis.
        public var foreign = ForeignPolicy.deliver
        /// Account of the legacy service's data and messages: its subscribers receive foreign messages, it shares the names of its
        /// locks and mapping patterns with the legacy service, and the legacy service's streams are listed to it. Empty: the messages
        /// are those of the account that owns the flow, and the rest is nobody's.
        public var foreignAccount = ""
        /// `FLOWHUB_SEED_LEASE_MS`: TTL of the leader lease of the instance that applies foreign updates, in milliseconds.
        public var foreignLeaseMilliseconds: Int64 = 5_000
        /// `FLOWHUB_MAX_BUS_MESSAGE_BYTES`: maximum bytes of a received bus message; a larger one is rejected.
        public var maximumMessageBytes = 4_194_304
        /// `REDIS_DEFAULT_TTL`: TTL of a cached state in seconds.
        public var stateSeconds = 3_600
        /// `FLOWHUB_REGISTRY_SECONDS`: TTL of registry entries in seconds. Each entry is written again after a third of
        /// the TTL.
        public var registrySeconds = 3_600
        /// Timeout in milliseconds for reads of cached states, latest transients and import caches. When it elapses, the
        /// hub continues without the value.
        public var softTimeoutMilliseconds = 250
        /// `FLOWHUB_REDIS_HEARTBEAT_MS`: milliseconds between two liveness heartbeats. After three intervals without one an
        /// instance counts as dead.
        public var heartbeatMilliseconds: Int64 = 4_000
        /// `FLOWHUB_REDIS_SWEEP_MS`: milliseconds between two sweeps of dead instances.
        public var sweepMilliseconds: Int64 = 12_000
        /// `FLOWHUB_PRESENCE_MS`: milliseconds between two reads of the numbers of streams on other instances.
        public var presenceMilliseconds: Int64 = 1_000
        /// `FLOWHUB_COUNTER_SECONDS`: interval between two writes of the usage counters, in seconds.
        public var counterSeconds: Int64 = 5
        /// `FLOWHUB_REDIS_THRIFTY`: whether heartbeats, canaries and sweeps are less frequent while the instance watches no flow.
        public var isThrifty = false
        /// `FLOWHUB_REDIS_IDLE_SECONDS`: their interval then, in seconds.
        public var idleSeconds: Int64 = 120
        /// Maximum bytes of a mapping pattern that the legacy service wrote; `nil`: such patterns are absent
        /// (`FLOWHUB_SEED_PATTERNS`).
        public var legacyPatternBytes: Int?
        /// Limits of an account's mapping patterns; those of all accounts together do not apply in Redis.
        public var patterns = MappingPatternLimits()
        /// Limits of an account's locks; those of all accounts together do not apply in Redis.
        public var locks = LockLimits()

        public init() {}

        /// ``foreignAccount``; `nil` if it is empty.
        var legacyAccount: String? { self.foreignAccount.isEmpty ? nil : self.foreignAccount }
    }

    public let bus: RedisBus
    public let states: RedisStateCache
    public let registry: RedisConnectionRegistry
    public let counters: RedisCounters
    public let patterns: RedisMappingPatternStore
    public let imports: RedisImportCache

    private let group: MultiThreadedEventLoopGroup
    private let commands: RedisLink
    private let subscriber: RedisLink
    private let core: NIOLoopBoundBox<BusCore>
    private let control: ControlChannel
    private let authenticator: MessageAuthenticator
    private let configuration: Configuration
    /// Makes the listener to foreign updates; `nil` unless they are applied.
    private let makeListener: (@Sendable () -> ForeignListener)?
    private let epoch: @Sendable () -> Epoch
    private let logger: Logger
    /// Milliseconds that ``start()`` waits for Redis.
    private let startMilliseconds: Int
    /// Timeout in milliseconds for lock operations, which fail without a reply.
    private let timeoutMilliseconds: Int

    /// - Parameters:
    ///   - instance: name of this instance.
    ///   - hubID: hub id from the store; see ``MessageAuthenticator``.
    ///   - counters: usage counters of this process. Each increment is added to them and to the shared counters in
    ///     Redis.
    ///   - epoch: supplies the epoch that this instance has adopted.
    ///   - now: the wall clock.
    ///   - foreignMonitor: counts the foreign messages that are not delivered.
    ///   - applier: applies foreign updates if the policy is ``ForeignPolicy/apply``.
    ///   - onDelivery: called on the event loop after each change of ``BusHealth/isDelivering``.
    /// - Throws: ``RedisError`` if the settings are invalid.
    public init(
        _ settings: RedisSettings, instance: String, hubID: String, configuration: Configuration, counters: any Counters,
        foreignMonitor: ForeignMessageMonitor, applier: ForeignUpdateApplier? = nil,
        epoch: @escaping @Sendable () -> Epoch, now: @escaping @Sendable () -> Timestamp, logger: Logger,
        onDelivery: @escaping @Sendable (Bool) -> Void
    ) throws(RedisError) {
        let applier = configuration.foreign == .apply ? applier : nil
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let loop = group.next()
        let authenticator = MessageAuthenticator(hubID: hubID)
        let health = BusHealth()
        // The origin is unique to this process: another process with the same instance name may still be draining.
        let codec = MessageCodec(
            authenticator: authenticator, origin: "\(instance).\(RandomText.base36(8))",
            maximumBytes: configuration.maximumMessageBytes)
        var bus = BusCore.Configuration()
        bus.canaryMilliseconds = configuration.canaryMilliseconds
        bus.canaryTimeoutMilliseconds = configuration.canaryTimeoutMilliseconds
        bus.foreign = configuration.foreign
        bus.foreignAccount = configuration.foreignAccount
        let pace = RedisPace(
            .init(isThrifty: configuration.isThrifty, idleMilliseconds: configuration.idleSeconds * 1_000))
        let commandCounter = CommandCounter()
        let busCore = BusCore(
            instance: instance, codec: codec, configuration: bus, health: health, foreignMonitor: foreignMonitor, loop: loop,
            pace: pace, now: now, logger: logger)
        busCore.onDelivery = onDelivery
        busCore.epoch = epoch
        let core = NIOLoopBoundBox.makeBoxSendingValue(busCore, eventLoop: loop)
        let hub = MessageAuthenticator.publicName(of: hubID)
        let commands = try RedisLink(
            settings, name: "flowhub:\(instance)", hub: hub, isSubscriber: false, loop: loop, logger: logger,
            counter: commandCounter,
            events: .init(
                ready: { core.value.commandsReady() }, lost: { core.value.commandsLost() },
                scriptMissing: { core.value.commandsReady() }))
        let subscriber = try RedisLink(
            settings, name: "flowhub:\(instance):subscriber", hub: hub, isSubscriber: true, loop: loop, logger: logger,
            counter: commandCounter,
            events: .init(
                ready: { core.value.connected() }, lost: { core.value.lost() }, pushed: { core.value.receivedPush($0) }))
        self.group = group
        self.core = core
        self.commands = commands
        self.subscriber = subscriber
        self.authenticator = authenticator
        self.configuration = configuration
        self.epoch = epoch
        self.logger = logger
        self.startMilliseconds = settings.connectMilliseconds
        let control = ControlChannel(
            commands, instance: instance, authenticator: authenticator, timeoutMilliseconds: settings.commandMilliseconds)
        self.control = control
        self.bus = RedisBus(
            core, codec: codec, control: control, health: health, commands: commandCounter, foreignMonitor: foreignMonitor,
            applier: applier, loop: loop)
        self.makeListener = Self.listenerMaker(
            applier, instance: instance, codec: codec, control: control, configuration: configuration, monitor: foreignMonitor,
            health: health, loop: loop, now: now, logger: logger)
        var registry = RedisConnectionRegistry.Configuration()
        registry.liveness.lifetime = Int64(configuration.registrySeconds) * 1_000
        registry.liveness.heartbeatInterval = configuration.heartbeatMilliseconds
        registry.sweepInterval = configuration.sweepMilliseconds
        registry.presenceInterval = configuration.presenceMilliseconds
        registry.legacyAccount = configuration.legacyAccount
        self.registry = RedisConnectionRegistry(
            commands, instance: instance, hub: hub, control: control, configuration: registry, pace: pace,
            softTimeoutMilliseconds: settings.commandMilliseconds, logger: logger)
        self.timeoutMilliseconds = settings.commandMilliseconds
        self.patterns = RedisMappingPatternStore(
            commands, authenticator: authenticator,
            configuration: .init(
                limits: configuration.patterns, legacyAccount: configuration.legacyAccount,
                legacyBytes: configuration.legacyPatternBytes),
            timeoutMilliseconds: settings.commandMilliseconds, now: now)
        self.imports = RedisImportCache(
            commands, authenticator: authenticator, timeoutMilliseconds: configuration.softTimeoutMilliseconds)
        self.counters = RedisCounters(commands, local: counters, seconds: configuration.counterSeconds, now: now)
        self.states = RedisStateCache(
            commands, authenticator: authenticator, seconds: configuration.stateSeconds,
            softTimeoutMilliseconds: configuration.softTimeoutMilliseconds)
    }

    /// The function that makes the listener to foreign updates on the event loop; `nil` without an applier.
    private static func listenerMaker(
        _ applier: ForeignUpdateApplier?, instance: String, codec: MessageCodec, control: ControlChannel,
        configuration: Configuration, monitor: ForeignMessageMonitor, health: BusHealth, loop: any EventLoop,
        now: @escaping @Sendable () -> Timestamp, logger: Logger
    ) -> (@Sendable () -> ForeignListener)? {
        guard let applier else { return nil }
        let lease = configuration.foreignLeaseMilliseconds
        return {
            ForeignListener(
                applier: applier, instance: instance, codec: codec, control: control, leaseMilliseconds: lease, monitor: monitor,
                health: health, loop: loop, now: now, logger: logger)
        }
    }

    /// Makes the store of the latest transients.
    /// - Parameters:
    ///   - local: store of the transient events that this instance published. Reads use only this store while Redis is
    ///     unavailable.
    ///   - seconds: TTL of a flow's events in Redis.
    public func transients(local: any TransientStore, limits: TransientLimits, seconds: Int64) -> RedisTransientStore {
        RedisTransientStore(
            self.commands, local: local, authenticator: self.authenticator, limits: limits, seconds: seconds,
            softTimeoutMilliseconds: self.configuration.softTimeoutMilliseconds, epoch: self.epoch)
    }

    /// Makes the lock service.
    /// - Parameter fencing: the store's source of fencing tokens.
    public func locks(fencing: any FencingSequence) -> RedisLockService {
        RedisLockService(
            self.commands, fencing: fencing, authenticator: self.authenticator, limits: self.configuration.locks,
            legacyAccount: self.configuration.legacyAccount, softTimeoutMilliseconds: self.timeoutMilliseconds)
    }

    /// Starts to connect, and waits until Redis has answered the first liveness heartbeat, at most for the connect
    /// timeout; then, if foreign updates are applied, as long until this instance hears them. If Redis is unavailable, or used by
    /// a hub with another store, the hub uses Redis as soon as that has changed.
    public func start() async {
        let (ownership, continuation) = AsyncStream.makeStream(of: Bool.self)
        self.registry.onOwnership { [commands, subscriber] isOurs in
            continuation.yield(isOurs)
            guard !isOurs else { return }
            // Both links are not ready again before the other hub's name is gone.
            commands.replace(.otherHub)
            subscriber.replace(.otherHub)
        }
        let (listening, listeningContinuation) = AsyncStream.makeStream(of: Void.self)
        self.commands.loop.execute { [core, commands, subscriber, control, registry, counters, makeListener] in
            core.value.onControl = { control.received($0) }
            if let makeListener {
                let listener = makeListener()
                listener.onListening = { listeningContinuation.yield() }
                core.value.foreign = listener
                control.onForeign(
                    mark: { core.value.foreign?.received(mark: $0) }, freeLease: { core.value.foreign?.leaseIsFree() })
            }
            core.value.onCommandsReady = { registry.connected() }
            registry.start()
            counters.start()
            core.value.start(commands: commands, subscriber: subscriber)
            commands.start()
            subscriber.start()
        }
        let timeout = self.commands.loop.scheduleTask(in: .milliseconds(Int64(self.startMilliseconds))) {
            continuation.yield(false)
        }
        let isOurs = await ownership.first { _ in true } ?? false
        timeout.cancel()
        // An instance that an operator starts before it ends another one must hear what is published after that.
        guard isOurs, self.makeListener != nil else { return }
        let patience = self.commands.loop.scheduleTask(in: .milliseconds(Int64(self.startMilliseconds))) {
            listeningContinuation.yield()
        }
        _ = await listening.first { _ in true }
        patience.cancel()
    }

    /// Writes pending registry changes and counters to Redis, then closes both connections.
    public func close() async {
        await self.registry.stop()
        await self.counters.stop()
        try? await self.commands.loop.submit { [core] in core.value.stop() }.get()
        await self.subscriber.stop()
        await self.commands.stop()
        try? await self.group.shutdownGracefully()
    }
}
