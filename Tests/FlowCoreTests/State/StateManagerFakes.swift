import FlowCore
import Synchronization

/// An in-memory store with a gate at which loads wait, and with failures that a test sets.
final class FakeStore: FlowStore {
    struct State {
        var adopted = Sample.epoch
        /// The epoch of the store, which the manager may not have adopted yet.
        var actual = Sample.epoch
        var records: [FlowID: FlowRecord] = [:]
        var loads = 0
        /// The flows of each read of heads.
        var headReads: [[FlowID]] = []
        var applies = 0
        /// The changes of all calls of ``apply(_:)``.
        var changes: [FlowChange] = []
        /// What the next read of finished flows returns, as of an earlier time; `nil`: the flows that are finished.
        var finished: [FlowHead]?
        var failure: StoreError?
        /// The error of changes and write probes only.
        var writeFailure: StoreError?
        /// The error of all operations after `refreshEpoch()`.
        var failureAfterRefresh: StoreError?
        var isGateClosed = false
        var waiting: [CheckedContinuation<Void, Never>] = []
        var observer: (@Sendable ([Commit]) -> Void)?
    }

    let state = Mutex(State())

    var epoch: Epoch { self.state.withLock { $0.adopted } }

    private func check() throws(StoreError) {
        let failure: StoreError? = self.state.withLock { $0.failure ?? ($0.adopted == $0.actual ? nil : .epochChanged) }
        if let failure { throw failure }
    }

    func usage(of account: String) async throws(StoreError) -> AccountUsage { AccountUsage() }
    func highestUsage() async throws(StoreError) -> AccountUsage { AccountUsage() }

    func apply(_ change: FlowChange) async throws(StoreError) -> FlowOutcome {
        let failure = self.state.withLock { state in
            state.applies += 1
            state.changes.append(change)
            return state.writeFailure
        }
        if let failure { throw failure }
        try self.check()
        return self.state.withLock { state in
            let current = state.records[change.flow]
            switch FlowTransition.decide(change, current: current, epoch: state.actual, limits: .init()) {
            case .unchanged(let record): return .unchanged(record)
            case .rejected(let rejection): return .rejected(rejection)
            case .unprepared: preconditionFailure("patches are applied in place")
            case .write(let record, let events, let created):
                state.records[change.flow] = record
                state.observer?([Commit(record: record, events: events, epoch: state.actual)])
                return .applied(record, events: events, created: created)
            }
        }
    }

    func observeCommits(_ observer: @escaping @Sendable ([Commit]) -> Void) { self.state.withLock { $0.observer = observer } }

    func load(_ flow: FlowID) async throws(StoreError) -> FlowRecord? {
        try self.check()
        let record = self.state.withLock { state in
            state.loads += 1
            return state.records[flow]
        }
        await self.passGate()
        return record
    }

    /// Waits while the gate is closed.
    private func passGate() async {
        await withCheckedContinuation { continuation in
            let isShut = self.state.withLock { state in
                if state.isGateClosed { state.waiting.append(continuation) }
                return state.isGateClosed
            }
            if !isShut { continuation.resume() }
        }
    }

    func openGate() {
        let waiting = self.state.withLock { state in
            state.isGateClosed = false
            defer { state.waiting = [] }
            return state.waiting
        }
        for continuation in waiting { continuation.resume() }
    }

    func page(of flow: FlowID, after: Version, limit: PageLimit) async throws(StoreError) -> EventPage {
        try self.check()
        return EventPage(head: nil, events: [])
    }

    func heads(of flows: [FlowID]) async throws(StoreError) -> [FlowHead] {
        try self.check()
        let heads = self.state.withLock { state in
            state.headReads.append(flows)
            return flows.compactMap { state.records[$0]?.head }
        }
        await self.passGate()
        return heads
    }

    func list(_ query: FlowQuery) async throws(StoreError) -> FlowList {
        try self.check()
        return FlowList(flows: [], hasMore: false)
    }

    func probeWrite() async throws(StoreError) {
        if let failure = self.state.withLock({ $0.writeFailure }) { throw failure }
    }

    func finished(before moment: Timestamp, limit: Int) async throws(StoreError) -> [FlowHead] {
        try self.check()
        return self.state.withLock { state in
            if let finished = state.finished { return finished }
            return state.records.values.map(\.head).filter { $0.status.isTerminal && !$0.isDeleted && $0.updatedAt < moment }
                .sorted { $0.updatedAt < $1.updatedAt }.prefix(limit).map(\.self)
        }
    }

    func prune(_ policy: RetentionPolicy, now: Timestamp) async throws(StoreError) -> Int { 0 }

    func refreshEpoch() async throws(StoreError) -> Epoch {
        self.state.withLock { state in
            state.adopted = state.actual
            state.failure = state.failureAfterRefresh
            return state.actual
        }
    }

    func raiseEpoch(from: Epoch, now: Timestamp) async throws(StoreError) -> Epoch {
        self.state.withLock { state in
            if state.actual == from { state.actual = from.raised(atUnixSeconds: now.seconds, random: "r") }
            state.adopted = state.actual
            return state.actual
        }
    }
}

final class FakeCache: StateCache {
    struct State {
        var epoch: Epoch?
        var records: [FlowID: FlowRecord] = [:]
        var currentAt: [FlowID: ContinuousClock.Instant] = [:]
        /// The highest version of each flow that was cached or reported.
        var known: [FlowID: Version] = [:]
    }

    let state = Mutex(State())

    func flow(_ flow: FlowID, atLeast: Version) -> CachedFlow? {
        self.state.withLock { state in
            guard let record = state.records[flow], record.version >= atLeast, let epoch = state.epoch else { return nil }
            return CachedFlow(record: record, epoch: epoch, currentAt: state.currentAt[flow])
        }
    }

    func put(_ record: FlowRecord, epoch: Epoch, readAt: ContinuousClock.Instant?) -> Bool {
        self.state.withLock { state in
            let flow = record.head.flow
            if let current = state.epoch, epoch > current { state = State(epoch: epoch) }
            guard state.epoch == epoch, record.version >= state.known[flow] ?? 0 else { return false }
            state.records[flow] = record
            state.known[flow] = record.version
            if let readAt { state.currentAt[flow] = readAt }
            return true
        }
    }

    func compare(_ flow: FlowID, with version: Version, epoch: Epoch, at instant: ContinuousClock.Instant) {
        self.state.withLock { state in
            guard state.epoch == epoch, let record = state.records[flow] else { return }
            if record.version >= version {
                state.currentAt[flow] = instant
            } else {
                state.records[flow] = nil
                state.known[flow] = version
            }
        }
    }

    /// Drops the flow, as to make room for others. Its version stays known.
    func evict(_ flow: FlowID) { self.state.withLock { $0.records[flow] = nil } }

    func advance(to epoch: Epoch) {
        self.state.withLock { state in
            if state.epoch.map({ epoch > $0 }) ?? true { state = State(epoch: epoch) }
        }
    }

    func versions() -> [FlowID: Version] { self.state.withLock { $0.records.mapValues(\.version) } }
}

/// A shared state cache with the states that a test sets, also older ones.
final class FakeSharedCache: SharedStateCache {
    let records = Mutex<[FlowID: FlowRecord]>([:])

    func put(_ record: FlowRecord, epoch: Epoch) { self.records.withLock { $0[record.head.flow] = record } }
    func record(of flow: FlowID, atLeast version: Version, epoch: Epoch) async -> FlowRecord? {
        self.records.withLock { $0[flow].flatMap { $0.version >= version ? $0 : nil } }
    }
}

final class FakeTransients: TransientStore {
    let kept = Mutex<[(event: TransientEvent, version: Version)]>([])

    func record(_ event: TransientEvent, of flow: FlowID, at version: Version) {
        self.kept.withLock { $0.append((event, version)) }
    }

    func latest(of flow: FlowID, since version: Version) async -> [TransientEvent] {
        self.kept.withLock { $0.filter { $0.version >= version }.map(\.event) }
    }

    func removeAll() { self.kept.withLock { $0 = [] } }
}

final class FakeCounters: Counters {
    private let counts = Mutex<[Counter: Int]>([:])

    func add(_ amount: Int, to counter: Counter) { self.counts.withLock { $0[counter, default: 0] += amount } }
    func totals() -> [Counter: Int] { self.counts.withLock { $0 } }
}

/// A state manager with fakes of its dependencies.
final class ManagerFixture: Sendable {
    let store = FakeStore()
    let cache = FakeCache()
    let transients = FakeTransients()
    let bus = FakeBus()
    let counters = FakeCounters()
    let health = HubHealth()
    let manager: StateManager
    private let announced: AnnouncedEpochs
    private let clock: TestClock

    /// A clock that a test sets.
    private final class TestClock: Sendable {
        let now = Mutex(ContinuousClock.now)
    }

    private final class AnnouncedEpochs: Sendable {
        let epochs = Mutex<[Epoch]>([])
    }

    /// - Parameters:
    ///   - shared: the cache that the instances share.
    ///   - maximumAge: `nil`: no other instance changes the store.
    init(shared: FakeSharedCache? = nil, maximumAge: Duration? = nil) {
        let announced = AnnouncedEpochs()
        self.announced = announced
        let clock = TestClock()
        self.clock = clock
        self.manager = StateManager(
            store: self.store, cache: self.cache, transients: self.transients, bus: self.bus, shared: shared,
            counters: self.counters, health: self.health, maximumAge: maximumAge, now: { clock.now.withLock { $0 } }
        ) { epoch in announced.epochs.withLock { $0.append(epoch) } }
    }

    /// The epochs that the manager announced, in order.
    var epochs: [Epoch] { self.announced.epochs.withLock { $0 } }

    /// The time of the manager's clock, which stands still until ``advance(by:)``.
    var now: ContinuousClock.Instant { self.clock.now.withLock { $0 } }
    func advance(by duration: Duration) { self.clock.now.withLock { $0 += duration } }

    func patch(_ text: String) async throws -> FlowOutcome {
        try await self.manager.apply(FlowTransitionTests.change(FlowTransitionTests.patch(text)))
    }
}
