import FlowCore
import Logging
import Synchronization

/// Tells the other instances that this one is alive: `hub:alive:{instance}` expires unless the instance renews it.
///
/// An instance that finds its own key expired, or the data of Redis lost, starts a new incarnation. Safe to use from any
/// thread; callbacks are called on the event loop of the connection.
final class InstanceLiveness: Sendable {
    struct Configuration: Sendable {
        /// `FLOWHUB_REDIS_HEARTBEAT_MS`: milliseconds between two liveness heartbeats.
        var heartbeatInterval: Int64 = 4_000
        /// TTL of registry entries in Redis, in milliseconds (`FLOWHUB_REGISTRY_SECONDS`).
        var lifetime: Int64 = 3_600_000

        /// Milliseconds without a liveness heartbeat after which an instance counts as dead.
        var livenessTimeout: Int64 { self.heartbeatInterval * 3 }
    }

    private struct State {
        var incarnation = RandomText.base36(12)
        /// Whether Redis has confirmed this incarnation. Only then are entries written.
        var isAlive = false
        /// Whether a new incarnation is being started: the entries of the previous incarnation are being removed from
        /// Redis.
        var isStarting = false
        /// Whether the start of a new incarnation was requested while another start was running. If the running start
        /// fails, for example because the connection was lost, the requested start follows.
        var restartRequested = false
        /// Reports whether Redis belongs to this hub; see ``onOwnership(_:)``.
        var onOwnership: (@Sendable (Bool) -> Void)?
        /// Whether `onOwnership` was called with `true`.
        var hasReportedOwnership = false
        /// See ``onConfirmation(_:)``.
        var onConfirmation: @Sendable (_ isNew: Bool) -> Void = { _ in }
    }

    private let instance: String
    /// Public name of the hub; see ``MessageAuthenticator/publicName(of:)``.
    private let hub: String
    private let link: RedisLink
    private let sweeper: InstanceSweeper
    private let configuration: Configuration
    private let pace: RedisPace
    private let logger: Logger
    private let state = Mutex(State())
    private let timer = Mutex<PacedTimer?>(nil)

    init(
        _ link: RedisLink, instance: String, hub: String, sweeper: InstanceSweeper, configuration: Configuration, pace: RedisPace,
        logger: Logger
    ) {
        self.link = link
        self.instance = instance
        self.hub = hub
        self.sweeper = sweeper
        self.configuration = configuration
        self.pace = pace
        self.logger = logger
    }

    /// The incarnation under which entries are written; `nil` unless Redis has confirmed it.
    var incarnation: String? { self.state.withLock { $0.isAlive ? $0.incarnation : nil } }

    private var key: String { "hub:alive:\(self.instance)" }

    /// Starts the timer of the heartbeats.
    func start() {
        let timer = PacedTimer(self.link.loop) { [weak self] in
            guard let self else { return 1_000 }
            // Until Redis has confirmed the incarnation, the instance is not idle: no stream could be registered.
            return self.incarnation == nil
                ? self.configuration.heartbeatInterval : self.pace.interval(self.configuration.heartbeatInterval)
        } _: { [weak self] in
            self?.sendHeartbeat()
        }
        timer.restart()
        self.timer.withLock { $0 = timer }
    }

    /// Ends the heartbeats and removes the liveness key, if Redis is reachable. Waits at most this many milliseconds.
    func stop(within milliseconds: Int) async {
        self.timer.withLock { $0 }?.stop()
        var call = RedisScript.unregisterInstance.call(keys: [self.key])
        call.add(self.state.withLock { $0.incarnation })
        _ = try? await self.link.run([call], within: milliseconds)
    }

    /// Sets the callback that reports whether Redis belongs to this hub: `true` after the first successful liveness
    /// heartbeat, `false` after each one that finds another live hub's name in Redis.
    func onOwnership(_ body: @escaping @Sendable (_ isOurs: Bool) -> Void) { self.state.withLock { $0.onOwnership = body } }

    /// Sets the callback that is called when Redis has confirmed the incarnation: a new one, none of whose entries is in
    /// Redis yet, or the same one again.
    func onConfirmation(_ body: @escaping @Sendable (_ isNew: Bool) -> Void) { self.state.withLock { $0.onConfirmation = body } }

    /// Records that a write under an incarnation failed, or that its outcome is unknown: the next heartbeat starts a new one,
    /// under which all entries are written.
    func lost(_ incarnation: String) {
        let isCurrent = self.state.withLock { state in
            guard state.incarnation == incarnation else { return false }
            state.isAlive = false
            return true
        }
        // The heartbeat may have been due much later, if the instance is idle.
        if isCurrent { self.timer.withLock { $0 }?.restart() }
    }

    /// Applies a change of the pace: the key's TTL and the time of the next heartbeat follow from it.
    func paceChanged() {
        self.sendHeartbeat()
        self.timer.withLock { $0 }?.restart()
    }

    /// Sends a liveness heartbeat; if Redis has not confirmed the incarnation, starts a new one first.
    func sendHeartbeat() {
        if let incarnation = self.incarnation { self.send(heartbeat: incarnation) } else { self.startNewIncarnation() }
    }

    /// Starts a new incarnation, so that commands in flight under the previous one have no effect. First removes the
    /// entries of the previous incarnation, and of earlier processes with this instance name: other instances remove no
    /// entries of an instance that is alive.
    private func startNewIncarnation() {
        let incarnations: (old: String, new: String)? = self.state.withLock { state in
            guard !state.isStarting else {
                state.restartRequested = true
                return nil
            }
            state.isStarting = true
            state.restartRequested = false
            let old = state.incarnation
            state.incarnation = RandomText.base36(12)
            return (old, state.incarnation)
        }
        guard let incarnations else { return }
        Task { [weak self] in
            guard let self else { return }
            var call = RedisScript.unregisterInstance.call(keys: [self.key])
            call.add(incarnations.old)
            self.link.send([call])
            let isClean = await self.sweeper.removeEntries(of: self.instance)
            let restartRequested = self.state.withLock { state in
                state.isStarting = false
                return state.restartRequested
            }
            if isClean { self.send(heartbeat: incarnations.new) } else if restartRequested { self.startNewIncarnation() }
        }
    }

    /// Sends the liveness heartbeat of an incarnation (script `heartbeat.lua`), and handles the reply.
    private func send(heartbeat incarnation: String) {
        var call = RedisScript.heartbeat.call(keys: [self.key, "hub:instances", HubName.key])
        // An idle instance has no entries: it may be dead for longer without anybody's listing them.
        let timeout = self.pace.interval(self.configuration.heartbeatInterval) * 3
        call.add(incarnation)
        call.add(timeout)
        call.add(self.instance)
        call.add(max(self.configuration.lifetime, timeout))
        call.add(self.hub)
        call.add(self.configuration.livenessTimeout)
        call.add(HubName.maximumMilliseconds)
        self.link.send([call]) { [weak self] result in
            guard let self, case .success(let replies) = result, let reply = replies.first else { return }
            if reply.errorReply?.contains("OTHERHUB") == true { return self.reportOwnership(isOurs: false) }
            guard reply.errorReply == nil else { return }
            self.reportOwnership(isOurs: true)
            self.answered(reply.text, incarnation)
        }
    }

    /// Calls the ownership callback; with `true` only once.
    private func reportOwnership(isOurs: Bool) {
        let report = self.state.withLock { state in
            defer { if isOurs { state.hasReportedOwnership = true } }
            return isOurs && state.hasReportedOwnership ? nil : state.onOwnership
        }
        report?(isOurs)
    }

    /// Handles the reply to the liveness heartbeat of an incarnation.
    /// - Parameter stored: the incarnation that Redis had before; `nil` if it had none.
    private func answered(_ stored: String?, _ incarnation: String) {
        if let stored, stored != incarnation {
            // After a crash, the stored incarnation may be that of this instance's previous process, until the key expires.
            self.logger.warning(
                "Instance name is in use by another process or a previous run; set a unique FLOWHUB_INSTANCE if this persists",
                metadata: ["instance": "\(self.instance)"])
            return
        }
        let wasAlive: Bool? = self.state.withLock { state in
            guard state.incarnation == incarnation else { return nil }
            defer { state.isAlive = stored != nil || !state.isAlive }
            return state.isAlive
        }
        switch wasAlive {
        case false?: self.state.withLock { $0.onConfirmation }(true)
        // The liveness key had expired, or Redis lost its data. As `isAlive` is false now, `sendHeartbeat` starts a new
        // incarnation.
        case true? where stored == nil: self.sendHeartbeat()
        case true?: self.state.withLock { $0.onConfirmation }(false)
        case nil: break
        }
    }
}
