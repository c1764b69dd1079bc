public import FlowCore
import Logging
import NIOCore
import Synchronization

/// ``ConnectionRegistry`` over Redis: one field per stream in the hash `sse:connections:{flow}`.
///
/// Liveness is tracked per instance, not per stream: `hub:alive:{instance}` expires unless the instance renews it.
/// Entries of an instance whose key has expired are ignored, and any live instance removes them. An instance that finds
/// its own key expired, or the data of Redis lost, starts a new incarnation and registers all its streams again.
public final class RedisConnectionRegistry: ConnectionRegistry {
    struct Configuration: Sendable {
        /// Milliseconds between two liveness heartbeats.
        var heartbeatInterval: Int64 = 4_000
        /// Milliseconds without a liveness heartbeat after which an instance counts as dead.
        var livenessTimeout: Int64 = 12_000
        /// TTL of registry entries in Redis, in milliseconds. The instance writes all its entries again every third of
        /// the TTL.
        var lifetime: Int64 = 3_600_000
    }

    /// Maximum number of changes of entries in one call of the script `register.lua`.
    private static let batch = 500
    /// Minimum milliseconds from the change of an entry to its write to Redis. Changes made meanwhile are written in
    /// the same call.
    private static let batchDelay: Int64 = 20
    /// Minimum milliseconds between two writes of changed entries to Redis.
    private static let minimumFlushInterval: Int64 = 200
    /// Approximate number of flows per call of the script `sweep_instance.lua` (option COUNT of HSCAN).
    private static let sweepBatch = 100
    /// Upper bound for the number of streams that another instance reports for a flow. A higher number counts as this
    /// bound, so that a corrupt value in Redis cannot overflow the sum over all instances.
    private static let maximumPlausibleCount = 1_000_000_000
    /// Milliseconds after the most recent call of ``count(of:account:)`` for a flow. During them, the number of the flow's
    /// streams on other instances is read from Redis every second.
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
        var incarnation = RandomText.base36(12)
        /// Whether Redis has confirmed this incarnation. Only then are changes written.
        var isAlive = false
        /// Whether a new incarnation is being started: the entries of the previous incarnation are being removed from
        /// Redis.
        var isStarting = false
        /// Whether the start of a new incarnation was requested while another start was running. If the running start
        /// fails, for example because the connection was lost, the requested start follows.
        var restartRequested = false
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
        /// Reports whether Redis belongs to this hub; see ``onOwnership(_:)``.
        var onOwnership: (@Sendable (Bool) -> Void)?
        /// Whether `onOwnership` was called with `true`.
        var hasReportedOwnership = false
    }

    private let instance: String
    /// Public name of the hub; see ``MessageAuthenticator/publicName(of:)``.
    private let hub: String
    private let link: RedisLink
    private let control: ControlChannel
    private let configuration: Configuration
    /// Milliseconds to wait for a reply from Redis. When they have elapsed, the caller continues without the reply.
    private let softTimeoutMilliseconds: Int
    private let logger: Logger
    private let state = Mutex(State())
    private let timers = Mutex<[RepeatedTask]>([])

    init(
        _ link: RedisLink, instance: String, hub: String, control: ControlChannel, configuration: Configuration,
        softTimeoutMilliseconds: Int,
        logger: Logger
    ) {
        self.link = link
        self.instance = instance
        self.hub = hub
        self.control = control
        self.configuration = configuration
        self.softTimeoutMilliseconds = softTimeoutMilliseconds
        self.logger = logger
        control.onDisconnect { [weak self] connection, account in self?.disconnectHere(connection, account: account) ?? false }
    }

    /// The Redis key with the entries of a flow.
    private static func key(of flow: FlowID) -> String { "sse:connections:\(flow)" }
    /// Monotonic time in milliseconds.
    private var uptime: Int64 { Int64(NIODeadline.now().uptimeNanoseconds / 1_000_000) }

    // MARK: Life cycle

    /// Starts the timers: liveness heartbeat, remote counts, sweep of dead instances, and renewal of all entries.
    func start() {
        let heartbeat = self.link.loop.scheduleRepeatedTask(
            initialDelay: .milliseconds(self.configuration.heartbeatInterval),
            delay: .milliseconds(self.configuration.heartbeatInterval)
        ) { [weak self] _ in self?.sendHeartbeat() }
        let count = self.link.loop.scheduleRepeatedTask(
            initialDelay: .seconds(1), delay: .seconds(1)
        ) { [weak self] _ in self?.updateRemoteCounts() }
        let sweep = self.link.loop.scheduleRepeatedTask(
            initialDelay: .milliseconds(.random(in: 0...self.configuration.livenessTimeout)),
            delay: .milliseconds(self.configuration.livenessTimeout)
        ) { [weak self] _ in self?.sweep() }
        let renew = self.link.loop.scheduleRepeatedTask(
            initialDelay: .milliseconds(self.configuration.lifetime / 3), delay: .milliseconds(self.configuration.lifetime / 3)
        ) { [weak self] _ in self?.writeAll() }
        self.timers.withLock { $0 = [heartbeat, count, sweep, renew] }
    }

    /// Writes pending changes and removes this instance's liveness key, if Redis is reachable. Waits at most 500 ms.
    func stop() async {
        for timer in self.timers.withLock({ $0 }) { timer.cancel() }
        self.flush()
        let incarnation = self.state.withLock { $0.incarnation }
        var call = RedisScript.unregisterInstance.call(keys: ["hub:alive:\(self.instance)"])
        call.add(incarnation)
        _ = try? await self.link.run([call], within: min(500, self.softTimeoutMilliseconds))
    }

    /// Called when the command connection is ready. Sends a liveness heartbeat at once, because Redis may have lost its data.
    func connected() { self.sendHeartbeat() }

    /// Sends a liveness heartbeat; if Redis has not confirmed the incarnation, starts a new one first.
    private func sendHeartbeat() {
        let incarnation: String? = self.state.withLock { $0.isAlive ? $0.incarnation : nil }
        if let incarnation { self.send(heartbeat: incarnation) } else { self.startNewIncarnation() }
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
            var call = RedisScript.unregisterInstance.call(keys: ["hub:alive:\(self.instance)"])
            call.add(incarnations.old)
            self.link.send([call])
            let isClean = await self.removeEntries(of: self.instance)
            let restartRequested = self.state.withLock { state in
                state.isStarting = false
                return state.restartRequested
            }
            if isClean { self.send(heartbeat: incarnations.new) } else if restartRequested { self.startNewIncarnation() }
        }
    }

    /// Sends the liveness heartbeat of an incarnation (script `heartbeat.lua`), and handles the reply.
    private func send(heartbeat incarnation: String) {
        var call = RedisScript.heartbeat.call(keys: ["hub:alive:\(self.instance)", "hub:instances", "hub:name"])
        call.add(incarnation)
        call.add(self.configuration.livenessTimeout)
        call.add(self.instance)
        call.add(self.configuration.lifetime)
        call.add(self.hub)
        self.link.send([call]) { [weak self] result in
            guard let self, case .success(let replies) = result, let reply = replies.first else { return }
            if reply.errorReply?.contains("OTHERHUB") == true { return self.reportOwnership(isOurs: false) }
            guard reply.errorReply == nil else { return }
            self.reportOwnership(isOurs: true)
            self.heartbeatAnswered(reply.text, incarnation)
        }
    }

    /// Sets the callback that reports whether Redis belongs to this hub: `true` after the first successful liveness
    /// heartbeat, `false` after each one that finds another hub's name in Redis.
    func onOwnership(_ body: @escaping @Sendable (_ isOurs: Bool) -> Void) { self.state.withLock { $0.onOwnership = body } }

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
    private func heartbeatAnswered(_ stored: String?, _ incarnation: String) {
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
        case false: self.writeAll()
        // The liveness key had expired, or Redis lost its data. As `isAlive` is false now, `sendHeartbeat` starts a new
        // incarnation.
        case true where stored == nil: self.sendHeartbeat()
        default: break
        }
    }

    /// Writes all entries of this instance to Redis, replacing the stored ones, and all pending removals.
    private func writeAll() {
        self.state.withLock { state in
            guard state.isAlive else { return }
            let removals = state.pending.filter { if case .remove = $0 { true } else { false } }
            state.pending = removals + state.local.all.map { .add($0) }
        }
        self.flush()
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
        let (changes, incarnation) = self.state.withLock { state -> ([Change], String) in
            state.isFlushDue = false
            state.lastFlush = now
            defer { state.pending = [] }
            // Until Redis has confirmed this incarnation, changes would have no effect. The confirmation is followed by
            // a write of all entries, so the dropped changes are not lost.
            return (state.isAlive ? state.pending : [], state.incarnation)
        }
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
        for case .add(let entry) in changes { keys.append(Self.key(of: entry.flow)) }
        for case .remove(let entry) in changes { keys.append(Self.key(of: entry.flow)) }
        var call = RedisScript.register.call(keys: keys)
        call.add(incarnation)
        call.add(self.configuration.lifetime)
        // Additions come before removals: a connection that was opened and closed within the batch ends up removed.
        for case .add(let entry) in changes { Self.add("+", entry, incarnation, counts, to: &call) }
        for case .remove(let entry) in changes { Self.add("-", entry, incarnation, counts, to: &call) }
        self.link.send([call]) { [weak self] result in
            guard let self else { return }
            if case .success(let replies) = result, replies.first?.integer == 1 { return }
            // The changes were not written, or the outcome is unknown. The entries in Redis may be wrong until the next
            // liveness heartbeat starts a new incarnation, which writes all entries.
            self.state.withLock { if $0.incarnation == incarnation { $0.isAlive = false } }
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
        entries += await self.remoteEntries(of: flow)
        return entries.sorted { ($0.connection.instance, $0.connection.number) < ($1.connection.instance, $1.connection.number) }
    }

    /// The entries of other live instances for a flow; empty if Redis does not reply in time.
    private func remoteEntries(of flow: FlowID) async -> [ConnectionEntry] {
        let replies = try? await self.link.run([RESPCommand("HGETALL", Self.key(of: flow))], within: self.softTimeoutMilliseconds)
        guard let fields = replies?.first?.elements else { return [] }
        var found: [(entry: ConnectionEntry, incarnation: String)] = []
        for index in stride(from: 0, to: fields.count - 1, by: 2) {
            guard let field = ConnectionField.decode(fields[index], fields[index + 1], flow),
                field.entry.connection.instance != self.instance
            else {
                continue
            }
            found.append(field)
        }
        let instances = Array(Set(found.map(\.entry.connection.instance)))
        let incarnations = await self.incarnations(of: instances)
        return found.filter { incarnations[$0.entry.connection.instance] == $0.incarnation }.map(\.entry)
    }

    /// The incarnations of those instances that are alive, by instance; empty if Redis does not reply in time.
    private func incarnations(of instances: [String]) async -> [String: String] {
        guard !instances.isEmpty else { return [:] }
        var command = RESPCommand("MGET")
        for instance in instances { command.add("hub:alive:\(instance)") }
        let replies = try? await self.link.run([command], within: self.softTimeoutMilliseconds)
        guard let values = replies?.first?.elements, values.count == instances.count else { return [:] }
        var incarnations: [String: String] = [:]
        for (instance, value) in zip(instances, values) { incarnations[instance] = value.text }
        return incarnations
    }

    /// The number of the account's streams that watch the flow: this instance's from memory, plus those of other live
    /// instances as last read from Redis. After a call they are read every second for 10 s.
    public func count(of flow: FlowID, account: String) -> Int {
        let now = self.uptime
        let key = AccountFlow(flow: flow, account: account)
        return self.state.withLock { state in
            state.countRequestedAt[key] = now
            return state.local.count(of: key) + (state.remoteCounts[key] ?? 0)
        }
    }

    /// Reads the numbers of streams on other instances, for what ``count(of:account:)`` was called in the last 10 s. Called
    /// once a second.
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

    /// Reads the numbers of streams of all other live instances from Redis, and adds them up per flow.
    private func loadRemoteCounts(of keys: [AccountFlow]) async {
        guard
            let all = try? await self.link.run([RESPCommand("SMEMBERS", "hub:instances")], within: self.softTimeoutMilliseconds),
            let members = all.first?.elements
        else { return }
        let otherInstances = members.compactMap(\.text).filter { $0 != self.instance }
        let alive = await self.incarnations(of: otherInstances).keys
        let commands = alive.map { instance in
            var command = RESPCommand("HMGET", "hub:flows:\(instance)")
            for key in keys { command.add(key.field) }
            return command
        }
        guard let counts = try? await self.link.run(commands, within: self.softTimeoutMilliseconds) else { return }
        var sums: [AccountFlow: Int] = [:]
        for reply in counts {
            for (key, value) in zip(keys, reply.elements ?? []) {
                let count = value.text.flatMap { Int($0) } ?? 0
                sums[key, default: 0] += min(max(0, count), Self.maximumPlausibleCount)
            }
        }
        self.state.withLock { state in
            for key in keys { state.remoteCounts[key] = sums[key] ?? 0 }
        }
    }

    // MARK: Sweep of dead instances

    /// Starts ``sweepDeadInstances()`` in a task of its own.
    private func sweep() { Task { [weak self] in await self?.sweepDeadInstances() } }

    /// Removes the entries of all other instances whose liveness key has expired. Stops if Redis does not reply in time.
    private func sweepDeadInstances() async {
        guard
            let all = try? await self.link.run([RESPCommand("SMEMBERS", "hub:instances")], within: self.softTimeoutMilliseconds),
            let members = all.first?.elements
        else { return }
        let otherInstances = members.compactMap(\.text).filter { $0 != self.instance }
        let alive = await self.incarnations(of: otherInstances)
        for instance in otherInstances where alive[instance] == nil {
            guard await self.removeEntries(of: instance) else { return }
        }
    }

    /// Removes all entries of an instance from Redis, unless it is alive.
    /// - Returns: `false` if Redis did not reply in time; entries may remain then.
    private func removeEntries(of instance: String) async -> Bool {
        var cursor = "0"
        repeat {
            let scan = RESPCommand("HSCAN", "hub:flows:\(instance)", cursor, "COUNT", "\(Self.sweepBatch)")
            guard let page = (try? await self.link.run([scan], within: self.softTimeoutMilliseconds))?.first?.elements,
                page.count == 2,
                let next = page[0].text, let fields = page[1].elements
            else { return false }
            cursor = next
            // A field is a flow, or a flow and an account.
            let found = stride(from: 0, to: fields.count, by: 2).compactMap { index -> (flow: FlowID, field: String)? in
                guard let field = fields[index].text, let flow = FlowID(field.prefix { $0 != " " }) else { return nil }
                return (flow, field)
            }
            var call = RedisScript.sweepInstance.call(
                keys: ["hub:alive:\(instance)", "hub:flows:\(instance)", "hub:instances"] + found.map { Self.key(of: $0.flow) })
            call.add(instance)
            for entry in found { call.add(entry.field) }
            guard
                let answer = (try? await self.link.run(RedisScript.sweepInstance, call, within: self.softTimeoutMilliseconds))?
                    .integer
            else {
                return false
            }
            if answer == 0 { return true }
        } while cursor != "0"
        return true
    }

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
