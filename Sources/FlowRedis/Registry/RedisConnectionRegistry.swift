public import FlowCore
import Logging
import NIOCore
import Synchronization

/// Who is connected where, over all instances: one field a connection in the hash `sse:connections:{flow}`.
///
/// Liveness is an instance's, not a connection's: `hub:alive:{i}` runs out unless it is renewed, and what a dead instance wrote is
/// passed over by every reader and swept away by whoever comes by. An instance that was thought dead, or whose Redis came back
/// empty, writes everything again under a new boot.
public final class RedisConnectionRegistry: ConnectionRegistry {
    struct Configuration: Sendable {
        /// Milliseconds between two signs of life.
        var heartbeat: Int64 = 4_000
        /// Milliseconds without one, and an instance counts as dead.
        var dead: Int64 = 12_000
        /// Milliseconds that what is written lives; a third of it until it is written again.
        var lifetime: Int64 = 3_600_000
    }

    /// Changes that go out in one call.
    private static let batch = 500
    /// Milliseconds for changes to gather: one by itself is written soon, and of a crowd that comes or goes many at once.
    private static let gather: Int64 = 20
    /// Milliseconds between two batches.
    private static let pause: Int64 = 200
    /// Flows that one call of the sweep looks at.
    private static let sweepBatch = 100
    /// More than that nobody counts on one instance.
    private static let plausible = 1_000_000_000
    /// How long somebody's question for a count keeps it fresh, in milliseconds.
    private static let askedFor: Int64 = 10_000

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
        var boot = RandomText.base36(12)
        /// Whether Redis knows this instance under its boot.
        var isAlive = false
        var isBeginning = false
        /// The connection came while a beginning was under way that may have failed for want of it.
        var beginsAgain = false
        var pending: [Change] = []
        var isFlushDue = false
        var lastFlush: Int64 = 0
        var disconnect: (@Sendable (ConnectionID) -> Void)?
        /// How many watch on other instances, of flows that somebody asked for lately.
        var others: [FlowID: Int] = [:]
        var asked: [FlowID: Int64] = [:]
        var onSign: (@Sendable (Bool) -> Void)?
        var wasSeen = false
    }

    private let instance: String
    /// What may be shown of the hub's name.
    private let hub: String
    private let link: RedisLink
    private let control: ControlChannel
    private let configuration: Configuration
    private let softMilliseconds: Int
    private let logger: Logger
    private let state = Mutex(State())
    private let timers = Mutex<[RepeatedTask]>([])

    init(
        _ link: RedisLink, instance: String, hub: String, control: ControlChannel, configuration: Configuration,
        softMilliseconds: Int,
        logger: Logger
    ) {
        self.link = link
        self.instance = instance
        self.hub = hub
        self.control = control
        self.configuration = configuration
        self.softMilliseconds = softMilliseconds
        self.logger = logger
        control.onDisconnect { [weak self] connection, account in self?.disconnectHere(connection, account: account) ?? false }
    }

    private static func key(of flow: FlowID) -> String { "sse:connections:\(flow)" }
    private var uptime: Int64 { Int64(NIODeadline.now().uptimeNanoseconds / 1_000_000) }

    // MARK: Life

    func start() {
        let beat = self.link.loop.scheduleRepeatedTask(
            initialDelay: .milliseconds(self.configuration.heartbeat), delay: .milliseconds(self.configuration.heartbeat)
        ) { [weak self] _ in self?.beat() }
        let count = self.link.loop.scheduleRepeatedTask(
            initialDelay: .seconds(1), delay: .seconds(1)
        ) { [weak self] _ in self?.countOthers() }
        let sweep = self.link.loop.scheduleRepeatedTask(
            initialDelay: .milliseconds(.random(in: 0...self.configuration.dead)), delay: .milliseconds(self.configuration.dead)
        ) { [weak self] _ in self?.sweep() }
        let renew = self.link.loop.scheduleRepeatedTask(
            initialDelay: .milliseconds(self.configuration.lifetime / 3), delay: .milliseconds(self.configuration.lifetime / 3)
        ) { [weak self] _ in self?.writeAll() }
        self.timers.withLock { $0 = [beat, count, sweep, renew] }
    }

    /// Takes this instance out, as far as Redis is there.
    func stop() async {
        for timer in self.timers.withLock({ $0 }) { timer.cancel() }
        self.flush()
        let boot = self.state.withLock { $0.boot }
        var leave = RedisScript.unregisterInstance.call(keys: ["hub:alive:\(self.instance)"])
        leave.add(boot)
        _ = try? await self.link.run([leave], within: min(500, self.softMilliseconds))
    }

    /// The connection is there, maybe to a server that knows nothing.
    func connected() { self.beat() }

    private func beat() {
        let boot: String? = self.state.withLock { $0.isAlive ? $0.boot : nil }
        if let boot { self.send(signOfLife: boot) } else { self.beginAnew() }
    }

    /// Under a boot of its own. What is still under way under the one before must not count; and what was written under it, or by
    /// an earlier process of this name, nobody else sweeps out as long as this one lives.
    private func beginAnew() {
        let boots: (old: String, new: String)? = self.state.withLock { state in
            guard !state.isBeginning else {
                state.beginsAgain = true
                return nil
            }
            state.isBeginning = true
            state.beginsAgain = false
            let old = state.boot
            state.boot = RandomText.base36(12)
            return (old, state.boot)
        }
        guard let boots else { return }
        Task { [weak self] in
            guard let self else { return }
            var leave = RedisScript.unregisterInstance.call(keys: ["hub:alive:\(self.instance)"])
            leave.add(boots.old)
            self.link.send([leave])
            let isClean = await self.sweepOut(self.instance)
            let beginsAgain = self.state.withLock { state in
                state.isBeginning = false
                return state.beginsAgain
            }
            if isClean { self.send(signOfLife: boots.new) } else if beginsAgain { self.beginAnew() }
        }
    }

    private func send(signOfLife boot: String) {
        var call = RedisScript.heartbeat.call(keys: ["hub:alive:\(self.instance)", "hub:instances", "hub:name"])
        call.add(boot)
        call.add(self.configuration.dead)
        call.add(self.instance)
        call.add(self.configuration.lifetime)
        call.add(self.hub)
        self.link.send([call]) { [weak self] result in
            guard let self, case .success(let replies) = result, let reply = replies.first else { return }
            if reply.refusal?.contains("OTHERHUB") == true { return self.firstSign(isOurs: false) }
            guard reply.refusal == nil else { return }
            self.firstSign(isOurs: true)
            self.heardOfLife(reply.text, boot)
        }
    }

    /// Told with the first answer, and again if Redis turns out to be another hub's.
    func onSign(_ body: @escaping @Sendable (_ isOurs: Bool) -> Void) { self.state.withLock { $0.onSign = body } }

    private func firstSign(isOurs: Bool) {
        let tell = self.state.withLock { state in
            defer { if isOurs { state.wasSeen = true } }
            return isOurs && state.wasSeen ? nil : state.onSign
        }
        tell?(isOurs)
    }

    /// - Parameter there: the boot that Redis had.
    private func heardOfLife(_ there: String?, _ boot: String) {
        if let there, there != boot {
            // For a while after a crash it is this instance's own life of before.
            self.logger.warning(
                "Another process bears this instance's name, or did until just now; if it goes on, FLOWHUB_INSTANCE must be its own",
                metadata: ["instance": "\(self.instance)"])
            return
        }
        let wasAlive: Bool? = self.state.withLock { state in
            guard state.boot == boot else { return nil }
            defer { state.isAlive = there != nil || !state.isAlive }
            return state.isAlive
        }
        switch wasAlive {
        case false: self.writeAll()
        // Thought dead meanwhile, or Redis came back empty.
        case true where there == nil: self.beat()
        default: break
        }
    }

    /// Everything anew: a field that is there is only written over.
    private func writeAll() {
        self.state.withLock { state in
            guard state.isAlive else { return }
            let left = state.pending.filter { if case .remove = $0 { true } else { false } }
            state.pending = left + state.local.all.map { .add($0) }
        }
        self.flush()
    }

    // MARK: Writing

    public func register(_ entries: [ConnectionEntry]) async {
        let isDue = self.state.withLock { state in
            for entry in entries where state.local.insert(entry) { state.pending.append(.add(entry)) }
            defer { state.isFlushDue = true }
            return !state.isFlushDue
        }
        if isDue { self.flushSoon() }
    }

    public func unregister(_ entries: [ConnectionEntry]) async {
        let isDue = self.state.withLock { state in
            for entry in entries where state.local.remove(entry) { state.pending.append(.remove(entry)) }
            defer { state.isFlushDue = true }
            return !state.isFlushDue
        }
        if isDue { self.flushSoon() }
    }

    private func flushSoon() {
        let sinceLast = self.uptime - self.state.withLock { $0.lastFlush }
        self.link.loop.scheduleTask(in: .milliseconds(max(Self.gather, Self.pause - sinceLast))) { [weak self] in
            self?.flush()
        }
    }

    private func flush() {
        let now = self.uptime
        let (changes, boot) = self.state.withLock { state -> ([Change], String) in
            state.isFlushDue = false
            state.lastFlush = now
            defer { state.pending = [] }
            // Without a sign of life nothing counts; after the first one everything is written.
            return (state.isAlive ? state.pending : [], state.boot)
        }
        for start in stride(from: 0, to: changes.count, by: Self.batch) {
            self.write(Array(changes[start..<min(start + Self.batch, changes.count)]), boot)
        }
    }

    private func write(_ changes: [Change], _ boot: String) {
        let counts = self.state.withLock { state in
            var counts: [FlowID: Int] = [:]
            for change in changes { counts[change.entry.flow] = state.local.count(of: change.entry.flow) }
            return counts
        }
        var keys = ["hub:alive:\(self.instance)", "hub:flows:\(self.instance)"]
        for case .add(let entry) in changes { keys.append(Self.key(of: entry.flow)) }
        for case .remove(let entry) in changes { keys.append(Self.key(of: entry.flow)) }
        var call = RedisScript.register.call(keys: keys)
        call.add(boot)
        call.add(self.configuration.lifetime)
        // Those that came first: of one that came and went within a batch the going is the last word.
        for case .add(let entry) in changes { Self.add("+", entry, boot, counts, to: &call) }
        for case .remove(let entry) in changes { Self.add("-", entry, boot, counts, to: &call) }
        self.link.send([call]) { [weak self] result in
            guard let self else { return }
            if case .success(let replies) = result, replies.first?.integer == 1 { return }
            // Not written, or not known to be, or yet to be: only another boot makes sure.
            self.state.withLock { if $0.boot == boot { $0.isAlive = false } }
        }
    }

    private static func add(
        _ sign: String, _ entry: ConnectionEntry, _ boot: String, _ counts: [FlowID: Int], to call: inout RESPCommand
    ) {
        call.add(sign)
        call.add(entry.flow.rawValue)
        call.add(entry.connection.description)
        call.add(sign == "+" ? ConnectionField.encode(entry, boot).bytes : [])
        call.add(counts[entry.flow] ?? 0)
    }

    // MARK: Reading

    /// Of this instance from memory; of the others as Redis has them, if it answers.
    public func connections(of flow: FlowID) async -> [ConnectionEntry] {
        var entries = self.state.withLock { $0.local.entries(of: flow) }
        entries += await self.entriesElsewhere(of: flow)
        return entries.sorted { ($0.connection.instance, $0.connection.number) < ($1.connection.instance, $1.connection.number) }
    }

    private func entriesElsewhere(of flow: FlowID) async -> [ConnectionEntry] {
        let replies = try? await self.link.run([RESPCommand("HGETALL", Self.key(of: flow))], within: self.softMilliseconds)
        guard let fields = replies?.first?.elements else { return [] }
        var found: [(entry: ConnectionEntry, boot: String)] = []
        for index in stride(from: 0, to: fields.count - 1, by: 2) {
            guard let one = ConnectionField.decode(fields[index], fields[index + 1], flow),
                one.entry.connection.instance != self.instance
            else {
                continue
            }
            found.append(one)
        }
        let instances = Array(Set(found.map(\.entry.connection.instance)))
        let boots = await self.boots(of: instances)
        return found.filter { boots[$0.entry.connection.instance] == $0.boot }.map(\.entry)
    }

    /// Those that are alive.
    private func boots(of instances: [String]) async -> [String: String] {
        guard !instances.isEmpty else { return [:] }
        var command = RESPCommand("MGET")
        for instance in instances { command.add("hub:alive:\(instance)") }
        let replies = try? await self.link.run([command], within: self.softMilliseconds)
        guard let values = replies?.first?.elements, values.count == instances.count else { return [:] }
        var boots: [String: String] = [:]
        for (instance, value) in zip(instances, values) { boots[instance] = value.text }
        return boots
    }

    public func count(of flow: FlowID) -> Int {
        let now = self.uptime
        return self.state.withLock { state in
            state.asked[flow] = now
            return state.local.count(of: flow) + (state.others[flow] ?? 0)
        }
    }

    /// Once a second, of the flows that somebody wants to know of.
    private func countOthers() {
        let now = self.uptime
        let flows = self.state.withLock { state in
            state.asked = state.asked.filter { now - $0.value < Self.askedFor }
            state.others = state.others.filter { state.asked[$0.key] != nil }
            return Array(state.asked.keys)
        }
        guard !flows.isEmpty else { return }
        Task { [weak self] in await self?.count(flows) }
    }

    private func count(_ flows: [FlowID]) async {
        guard let all = try? await self.link.run([RESPCommand("SMEMBERS", "hub:instances")], within: self.softMilliseconds),
            let members = all.first?.elements
        else { return }
        let others = members.compactMap(\.text).filter { $0 != self.instance }
        let alive = await self.boots(of: others).keys
        let commands = alive.map { instance in
            var command = RESPCommand("HMGET", "hub:flows:\(instance)")
            for flow in flows { command.add(flow.rawValue) }
            return command
        }
        guard let counts = try? await self.link.run(commands, within: self.softMilliseconds) else { return }
        var sums: [FlowID: Int] = [:]
        for reply in counts {
            for (flow, value) in zip(flows, reply.elements ?? []) {
                let count = value.text.flatMap { Int($0) } ?? 0
                sums[flow, default: 0] += min(max(0, count), Self.plausible)
            }
        }
        self.state.withLock { state in
            for flow in flows { state.others[flow] = sums[flow] ?? 0 }
        }
    }

    // MARK: Sweeping

    /// Takes out what dead instances left behind.
    private func sweep() { Task { [weak self] in await self?.sweepTheDead() } }

    private func sweepTheDead() async {
        guard let all = try? await self.link.run([RESPCommand("SMEMBERS", "hub:instances")], within: self.softMilliseconds),
            let members = all.first?.elements
        else { return }
        let others = members.compactMap(\.text).filter { $0 != self.instance }
        let alive = await self.boots(of: others)
        for dead in others where alive[dead] == nil {
            guard await self.sweepOut(dead) else { return }
        }
    }

    /// Takes out everything that an instance wrote, unless it is alive.
    /// - Returns: whether Redis answered.
    private func sweepOut(_ instance: String) async -> Bool {
        var cursor = "0"
        repeat {
            let scan = RESPCommand("HSCAN", "hub:flows:\(instance)", cursor, "COUNT", "\(Self.sweepBatch)")
            guard let page = (try? await self.link.run([scan], within: self.softMilliseconds))?.first?.elements, page.count == 2,
                let next = page[0].text, let fields = page[1].elements
            else { return false }
            cursor = next
            let flows = stride(from: 0, to: fields.count, by: 2).compactMap { fields[$0].text.flatMap { FlowID($0) } }
            var call = RedisScript.sweepInstance.call(
                keys: ["hub:alive:\(instance)", "hub:flows:\(instance)", "hub:instances"] + flows.map(Self.key(of:)))
            call.add(instance)
            for flow in flows { call.add(flow.rawValue) }
            guard
                let answer = (try? await self.link.run(RedisScript.sweepInstance, call, within: self.softMilliseconds))?.integer
            else {
                return false
            }
            if answer == 0 { return true }
        } while cursor != "0"
        return true
    }

    // MARK: Ending connections

    public func disconnect(_ connection: ConnectionID, account: String?) async -> Bool {
        if connection.instance == self.instance { return self.disconnectHere(connection, account: account) }
        return await self.control.disconnect(connection, account: account)
    }

    private func disconnectHere(_ connection: ConnectionID, account: String?) -> Bool {
        let (owner, disconnect) = self.state.withLock { ($0.local.account(of: connection), $0.disconnect) }
        guard let owner, account == nil || account == owner, let disconnect else { return false }
        disconnect(connection)
        return true
    }

    public func attach(_ disconnect: @escaping @Sendable (ConnectionID) -> Void) {
        self.state.withLock { $0.disconnect = disconnect }
    }
}
