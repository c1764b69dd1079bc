public import FlowCore
import Logging
import NIOCore
import Synchronization

/// ``ConnectionRegistry`` over Redis: one field per stream in the hash `hub:connections:{flow}`.
///
/// Liveness is tracked per instance, not per stream; see ``InstanceLiveness``. Entries of an instance whose key has expired
/// are ignored, and any live instance removes them. With each liveness heartbeat an instance checks that Redis has its
/// entries, and writes all of them again if some are missing.
public final class RedisConnectionRegistry: ConnectionRegistry {
    struct Configuration: Sendable {
        var liveness = InstanceLiveness.Configuration()
        /// `FLOWHUB_REDIS_SWEEP_MS`: milliseconds between two sweeps of dead instances.
        var sweepInterval: Int64 = 12_000
        /// `FLOWHUB_PRESENCE_MS`: milliseconds between two reads of the numbers of streams on other instances.
        var presenceInterval: Int64 = 1_000
        /// The account to which the legacy service's streams are listed; `nil`: to none.
        var legacyAccount: String?
    }

    /// Maximum number of changes of entries in one call of the script `register.lua`, and of flows in one of
    /// `check_connections.lua`.
    private static let batch = 500
    /// Minimum milliseconds from the change of an entry to its write to Redis. Changes made meanwhile are written in
    /// the same call.
    private static let batchDelay: Int64 = 20
    /// Minimum milliseconds between two writes of changed entries to Redis.
    private static let minimumFlushInterval: Int64 = 200
    /// Milliseconds after the most recent call of ``count(of:account:)`` for a flow. During them, the number of the flow's
    /// streams on other instances is read from Redis regularly.
    private static let countFreshness: Int64 = 10_000

    /// A change of this instance's entries that is to be written to Redis.
    private enum Change {
        case add(ConnectionEntry)
        case remove(ConnectionEntry)

        var entry: ConnectionEntry {
            switch self {
            case .add(let entry), .remove(let entry): entry
            }
        }
    }

    private struct State {
        var local = LocalConnections()
        /// Changes of entries that were not sent to Redis yet.
        var pending: [Change] = []
        /// Whether a write of the pending changes is scheduled.
        var isFlushDue = false
        /// When changes were last written, in milliseconds of ``uptime``.
        var lastFlush: Int64 = 0
        /// Closes a stream of this instance.
        var disconnect: (@Sendable (ConnectionID) -> Void)?
        /// Number of streams on other instances, for what ``count(of:account:)`` was called in the last 10 s.
        var remoteCounts: [AccountFlow: Int] = [:]
        /// When ``count(of:account:)`` was last called, in milliseconds of ``uptime``.
        var countRequestedAt: [AccountFlow: Int64] = [:]
    }

    private let instance: String
    private let link: RedisLink
    private let control: ControlChannel
    private let configuration: Configuration
    private let reader: RegistryReader
    private let sweeper: InstanceSweeper
    private let liveness: InstanceLiveness
    private let pace: RedisPace
    /// Milliseconds to wait for a reply from Redis. When they have elapsed, the caller continues without the reply.
    private let softTimeoutMilliseconds: Int
    private let state = Mutex(State())
    private let timers = Mutex<[PacedTimer]>([])
    private let sweepTimer = Mutex<PacedTimer?>(nil)

    init(
        _ link: RedisLink, instance: String, hub: String, control: ControlChannel, configuration: Configuration, pace: RedisPace,
        softTimeoutMilliseconds: Int, logger: Logger
    ) {
        self.link = link
        self.instance = instance
        self.control = control
        self.configuration = configuration
        self.pace = pace
        self.softTimeoutMilliseconds = softTimeoutMilliseconds
        let reader = RegistryReader(link, instance: instance, timeoutMilliseconds: softTimeoutMilliseconds)
        let sweeper = InstanceSweeper(link, reader: reader, timeoutMilliseconds: softTimeoutMilliseconds)
        self.reader = reader
        self.sweeper = sweeper
        self.liveness = InstanceLiveness(
            link, instance: instance, hub: hub, sweeper: sweeper, configuration: configuration.liveness, pace: pace,
            logger: logger)
        self.liveness.onConfirmation { [weak self] isNew in if isNew { self?.writeAll() } else { self?.checkEntries() } }
        control.onDisconnect { [weak self] connection, account in self?.disconnectHere(connection, account: account) ?? false }
    }

    /// Monotonic time in milliseconds.
    private var uptime: Int64 { Int64(NIODeadline.now().uptimeNanoseconds / 1_000_000) }

    // MARK: Life cycle

    /// Starts the timers: liveness heartbeat, remote counts, sweep of dead instances, and renewal of all entries.
    func start() {
        let (configuration, pace) = (self.configuration, self.pace)
        let counts = PacedTimer(self.link.loop) {
            configuration.presenceInterval
        } _: { [weak self] in
            self?.updateRemoteCounts()
        }
        let sweep = PacedTimer(self.link.loop) {
            pace.interval(configuration.sweepInterval)
        } _: { [weak self] in
            self?.sweep()
        }
        let renewal = PacedTimer(self.link.loop) {
            configuration.liveness.lifetime / 3
        } _: { [weak self] in
            self?.writeAll()
        }
        counts.restart()
        sweep.start(after: .random(in: 0...configuration.sweepInterval))
        renewal.restart()
        self.timers.withLock { $0 = [counts, sweep, renewal] }
        self.sweepTimer.withLock { $0 = sweep }
        self.liveness.start()
        pace.onChange { [weak self] in self?.paceChanged() }
    }

    /// Applies a change of the pace: an instance that has become active sends a heartbeat at once.
    private func paceChanged() {
        self.liveness.paceChanged()
        self.sweepTimer.withLock { $0 }?.restart()
    }

    /// Writes pending changes and removes this instance's liveness key, if Redis is reachable. Waits at most 500 ms.
    func stop() async {
        for timer in self.timers.withLock({ $0 }) { timer.stop() }
        self.flush()
        await self.liveness.stop(within: min(500, self.softTimeoutMilliseconds))
    }

    /// Called when the command connection is ready. Sends a liveness heartbeat at once, because Redis may have lost its data.
    func connected() { self.liveness.sendHeartbeat() }

    /// Sets the callback that reports whether Redis belongs to this hub; see ``InstanceLiveness/onOwnership(_:)``.
    func onOwnership(_ body: @escaping @Sendable (_ isOurs: Bool) -> Void) { self.liveness.onOwnership(body) }

    /// Writes all entries of this instance to Redis, replacing the stored ones, and all pending removals.
    private func writeAll() {
        guard self.liveness.incarnation != nil else { return }
        self.state.withLock { state in
            let removals = state.pending.filter { if case .remove = $0 { true } else { false } }
            state.pending = removals + state.local.all.map { .add($0) }
        }
        self.flush()
    }

    /// Checks that Redis has an entry of this instance for each flow that it serves, and else writes all of them again: another
    /// program may have deleted or overwritten a key, or Redis may have evicted it.
    private func checkEntries() {
        let samples = self.state.withLock { $0.pending.isEmpty ? $0.local.samples : [] }
        for start in stride(from: 0, to: samples.count, by: Self.batch) {
            let part = samples[start..<min(start + Self.batch, samples.count)]
            var call = RedisScript.checkConnections.call(keys: part.map { RegistryKeys.connections(of: $0.flow) })
            for sample in part { call.add(sample.connection.description) }
            self.link.send([call]) { [weak self] result in
                if case .success(let replies) = result, replies.first?.integer == 0 { self?.writeAll() }
            }
        }
    }

    // MARK: Writing

    /// Adds entries in memory, and schedules their write to Redis.
    public func register(_ entries: [ConnectionEntry]) async {
        let isDue = self.state.withLock { state in
            for entry in entries where state.local.insert(entry) { state.pending.append(.add(entry)) }
            defer { state.isFlushDue = true }
            return !state.isFlushDue
        }
        if isDue { self.flushSoon() }
    }

    /// Removes entries in memory, and schedules their removal from Redis.
    public func unregister(_ entries: [ConnectionEntry]) async {
        let isDue = self.state.withLock { state in
            for entry in entries where state.local.remove(entry) { state.pending.append(.remove(entry)) }
            defer { state.isFlushDue = true }
            return !state.isFlushDue
        }
        if isDue { self.flushSoon() }
    }

    /// Schedules a write of the pending changes: at least ``batchDelay`` from now, and at least
    /// ``minimumFlushInterval`` after the previous write.
    private func flushSoon() {
        let sinceLast = self.uptime - self.state.withLock { $0.lastFlush }
        self.link.loop.scheduleTask(in: .milliseconds(max(Self.batchDelay, Self.minimumFlushInterval - sinceLast))) {
            [weak self] in
            self?.flush()
        }
    }

    /// Writes the pending changes in batches. Drops them if Redis has not confirmed the incarnation.
    private func flush() {
        let now = self.uptime
        let changes = self.state.withLock { state in
            state.isFlushDue = false
            state.lastFlush = now
            defer { state.pending = [] }
            return state.pending
        }
        // Read after the changes were taken: of two incarnations the later one writes all entries, these among them. Until
        // Redis has confirmed an incarnation, changes would have no effect. The confirmation is followed by a write of all
        // entries, so the dropped changes are not lost.
        guard let incarnation = self.liveness.incarnation else { return }
        for start in stride(from: 0, to: changes.count, by: Self.batch) {
            self.write(Array(changes[start..<min(start + Self.batch, changes.count)]), incarnation)
        }
    }

    /// Writes one batch of changes. If Redis does not confirm them, the next liveness heartbeat starts a new
    /// incarnation.
    private func write(_ changes: [Change], _ incarnation: String) {
        let counts = self.state.withLock { state in
            var counts: [AccountFlow: (flow: Int, account: Int)] = [:]
            for entry in changes.map(\.entry) {
                let key = AccountFlow(flow: entry.flow, account: entry.account)
                counts[key] = (state.local.count(of: entry.flow), state.local.count(of: key))
            }
            return counts
        }
        var keys = ["hub:alive:\(self.instance)", "hub:flows:\(self.instance)"]
        for case .add(let entry) in changes { keys.append(RegistryKeys.connections(of: entry.flow)) }
        for case .remove(let entry) in changes { keys.append(RegistryKeys.connections(of: entry.flow)) }
        var call = RedisScript.register.call(keys: keys)
        call.add(incarnation)
        call.add(self.configuration.liveness.lifetime)
        // Additions come before removals: a connection that was opened and closed within the batch ends up removed.
        for case .add(let entry) in changes { Self.add("+", entry, incarnation, counts, to: &call) }
        for case .remove(let entry) in changes { Self.add("-", entry, incarnation, counts, to: &call) }
        self.link.send([call]) { [weak self] result in
            guard let self else { return }
            if case .success(let replies) = result, replies.first?.integer == 1 { return }
            // The changes were not written, or the outcome is unknown. The entries in Redis may be wrong until the next
            // liveness heartbeat starts a new incarnation, which writes all entries.
            self.liveness.lost(incarnation)
        }
    }

    /// Appends the arguments for one change to a call of `register.lua`.
    /// - Parameters:
    ///   - sign: `+` to add the entry, `-` to remove it.
    ///   - counts: the number of this instance's streams per flow, and of those per account.
    private static func add(
        _ sign: String, _ entry: ConnectionEntry, _ incarnation: String, _ counts: [AccountFlow: (flow: Int, account: Int)],
        to call: inout RESPCommand
    ) {
        call.add(sign)
        call.add(entry.flow.rawValue)
        call.add(entry.connection.description)
        call.add(sign == "+" ? ConnectionField.encode(entry, incarnation).bytes : [])
        let key = AccountFlow(flow: entry.flow, account: entry.account)
        call.add(counts[key]?.flow ?? 0)
        call.add(key.field)
        call.add(counts[key]?.account ?? 0)
    }

    // MARK: Reading

    /// The streams of this instance from memory, and those of other live instances from Redis if it replies in time.
    public func connections(of flow: FlowID) async -> [ConnectionEntry] {
        var entries = self.state.withLock { $0.local.entries(of: flow) }
        entries += await self.reader.entries(of: flow)
        return entries.sorted { ($0.connection.instance, $0.connection.number) < ($1.connection.instance, $1.connection.number) }
    }

    /// The streams that the legacy service has registered for the flow, if they are the account's.
    public func foreignConnections(of flow: FlowID, account: String) async -> [ForeignConnection] {
        account == self.configuration.legacyAccount ? await self.reader.legacyConnections(of: flow) : []
    }

    /// The number of the account's streams that watch the flow: this instance's from memory, plus those of other live
    /// instances as last read from Redis. After a call they are read regularly for 10 s.
    public func count(of flow: FlowID, account: String) -> Int {
        let now = self.uptime
        let key = AccountFlow(flow: flow, account: account)
        return self.state.withLock { state in
            state.countRequestedAt[key] = now
            return state.local.count(of: key) + (state.remoteCounts[key] ?? 0)
        }
    }

    /// Reads the numbers of streams on other instances, for what ``count(of:account:)`` was called in the last 10 s.
    private func updateRemoteCounts() {
        let now = self.uptime
        let keys = self.state.withLock { state in
            state.countRequestedAt = state.countRequestedAt.filter { now - $0.value < Self.countFreshness }
            state.remoteCounts = state.remoteCounts.filter { state.countRequestedAt[$0.key] != nil }
            return Array(state.countRequestedAt.keys)
        }
        guard !keys.isEmpty else { return }
        Task { [weak self] in await self?.loadRemoteCounts(of: keys) }
    }

    /// Reads the numbers of streams of all other live instances from Redis.
    private func loadRemoteCounts(of keys: [AccountFlow]) async {
        guard let sums = await self.reader.counts(of: keys) else { return }
        self.state.withLock { state in
            for key in keys { state.remoteCounts[key] = sums[key] ?? 0 }
        }
    }

    /// Starts a sweep of dead instances in a task of its own.
    private func sweep() { Task { [sweeper] in await sweeper.sweepDeadInstances() } }

    // MARK: Closing connections

    /// Closes a stream of this instance, or asks the instance that serves it to do so.
    /// - Parameter account: the account that the stream must belong to; `nil` for any.
    /// - Returns: `false` if there is no such stream, or if its instance does not answer in time.
    public func disconnect(_ connection: ConnectionID, account: String?) async -> Bool {
        if connection.instance == self.instance { return self.disconnectHere(connection, account: account) }
        return await self.control.disconnect(connection, account: account)
    }

    /// Closes a stream of this instance.
    /// - Parameter account: the account that the stream must belong to; `nil` for any.
    /// - Returns: `false` if there is no such stream.
    private func disconnectHere(_ connection: ConnectionID, account: String?) -> Bool {
        let (owner, disconnect) = self.state.withLock { ($0.local.account(of: connection), $0.disconnect) }
        guard let owner, account == nil || account == owner, let disconnect else { return false }
        disconnect(connection)
        return true
    }

    /// Sets the callback that closes a stream of this instance.
    public func onDisconnectRequest(_ disconnect: @escaping @Sendable (ConnectionID) -> Void) {
        self.state.withLock { $0.disconnect = disconnect }
    }
}
