public import Logging
import Synchronization

/// Applies foreign updates as patches of their flows, while this instance holds the leader lease for it. Keeps those of the last
/// seconds, also the ones that another instance applies: if that instance dies, this one applies what is left. An update is kept
/// for longer until it is applied, or until another instance is seen to apply updates.
///
/// Each publication is applied once, even if several instances apply it: its identity is the idempotency key. Updates of one
/// flow are applied in the order of their publication. While the store fails, an update is tried again, and those of the same
/// flow wait. What is given up is counted by the ``ForeignMessageMonitor``.
public final class ForeignUpdateApplier: Sendable {
    public struct Limits: Sendable {
        /// Time in seconds for which an update is kept for the case that the instance that applies updates dies.
        public var recentSeconds = 10
        /// Maximum bytes of the kept and waiting updates. Those that another instance applies make room, oldest first; if all of
        /// them wait to be applied, further ones are dropped and counted.
        public var recentBytes = 67_108_864

        public init() {}
    }

    private struct State: Sendable {
        var recent = RecentForeignUpdates()
        /// Whether this instance applies updates.
        var isApplying = false
        /// Number of the periods in which this instance applied updates. Work of an earlier one is not done any more.
        var term = 0
        /// Number of updates of this term that wait or are being applied.
        var pending = 0
        /// When another instance was last seen to apply updates.
        var otherSeenAt: ContinuousClock.Instant?
        /// Whether that instance has an earlier release.
        var isOtherOfEarlierRelease = false
    }

    /// An update to apply, by its number among the recent ones.
    private struct Work: Sendable {
        var number: Int
        var term: Int
    }

    /// Number of tasks that apply updates. A flow always maps to the same task.
    private static let taskCount = 32

    /// The account for which updates are applied; `nil`: the account that owns the flow, and no update of a flow that does not
    /// exist.
    private let account: String?
    private let limits: Limits
    private let monitor: ForeignMessageMonitor
    private let now: @Sendable () -> Timestamp
    private let logger: Logger
    private let state = Mutex(State())
    private let queues: [(stream: AsyncStream<Work>, continuation: AsyncStream<Work>.Continuation)]
    private let applied = Atomic<Int>(0)
    private let failureLog = LogLimiter()

    public init(
        account: String?, limits: Limits = Limits(), monitor: ForeignMessageMonitor, now: @escaping @Sendable () -> Timestamp,
        logger: Logger
    ) {
        self.account = account
        self.limits = limits
        self.monitor = monitor
        self.now = now
        self.logger = logger
        self.queues = (0..<Self.taskCount).map { _ in AsyncStream.makeStream(of: Work.self) }
    }

    /// Number of updates that this instance has applied; those that another instance had applied before are not counted.
    public var appliedCount: Int { self.applied.load(ordering: .relaxed) }
    /// Whether this instance applies updates.
    public var isApplying: Bool { self.state.withLock { $0.isApplying } }
    /// Number of updates that wait or are being applied.
    public var pendingCount: Int { self.state.withLock { $0.isApplying ? $0.pending : 0 } }

    // MARK: Input from the bus

    /// Keeps an update, and queues it if this instance applies updates. Called in the order of publication; does not wait.
    public func heard(_ update: ForeignUpdate, at instant: ContinuousClock.Instant = .now) {
        let isKept = self.state.withLock { state in
            self.removeExpired(&state, at: instant)
            let entry = RecentForeignUpdates.Entry(update: update, heardAt: instant)
            while state.recent.bytes + entry.bytes > self.limits.recentBytes, let first = state.recent.first,
                first.isDone || first.isOfOthers || self.isOtherApplying(state, at: instant)
            {
                state.recent.removeFirst()
            }
            guard state.recent.bytes + entry.bytes <= self.limits.recentBytes else { return false }
            let number = state.recent.append(entry)
            if state.isApplying { self.queue(number, update.flow, &state) }
            return true
        }
        if !isKept { self.monitor.count(.overloaded, flow: update.flow.rawValue) }
    }

    /// Starts to apply: first the kept updates that this instance has not applied itself, then those that it hears from now on.
    public func start(at instant: ContinuousClock.Instant = .now) {
        self.state.withLock { state in
            guard !state.isApplying else { return }
            self.removeExpired(&state, at: instant)
            let followsEarlierRelease = state.isOtherOfEarlierRelease
            state.isApplying = true
            state.otherSeenAt = nil
            state.isOtherOfEarlierRelease = false
            state.term += 1
            state.pending = 0
            state.recent.changeAll { entry in
                entry.isOfOthers = false
                if followsEarlierRelease { entry.mayBeOfEarlierRelease = true }
            }
            for number in state.recent.firstNumber..<state.recent.endNumber {
                guard let entry = state.recent[number], !entry.isDone else { continue }
                self.queue(number, entry.update.flow, &state)
            }
        }
    }

    /// Records that another instance applies updates: it applies all that it has heard in the last seconds, and what it hears from
    /// now on. Older updates that wait here are given up and counted: if they were applied now, they would overwrite newer ones.
    /// - Parameter isOfEarlierRelease: whether it knows updates by the digest of their message alone.
    public func sawOther(isOfEarlierRelease: Bool, at instant: ContinuousClock.Instant = .now) {
        let dropped = self.state.withLock { state in
            state.isApplying = false
            state.otherSeenAt = instant
            state.isOtherOfEarlierRelease = isOfEarlierRelease
            let dropped = self.waiting(state).filter { self.isExpired($0, at: instant) }.map(\.update.flow)
            state.recent.changeAll { $0.isOfOthers = true }
            self.removeExpired(&state, at: instant)
            return dropped
        }
        for flow in dropped { self.monitor.count(.leaseLost, flow: flow.rawValue) }
    }

    /// Gives up and counts the updates that nobody has applied, because this instance ends.
    public func end() {
        let dropped = self.state.withLock { state in
            defer { state.isApplying = false }
            return self.waiting(state).map(\.update.flow)
        }
        for flow in dropped { self.monitor.count(.ended, flow: flow.rawValue) }
    }

    /// Stops to apply. Changes that are being committed are completed.
    public func stop() { self.state.withLock { $0.isApplying = false } }

    /// Stops to apply, unless updates wait or are being applied.
    /// - Returns: whether this instance applies no updates any more.
    public func stopIfIdle() -> Bool {
        self.state.withLock { state in
            if state.pending == 0 { state.isApplying = false }
            return !state.isApplying
        }
    }

    /// Whether an update was heard within the last seconds, or one waits to be applied by whichever instance.
    public func hasRecent(at instant: ContinuousClock.Instant = .now) -> Bool {
        self.state.withLock { state in
            self.removeExpired(&state, at: instant)
            return !state.recent.isEmpty
        }
    }

    /// Whether an update is kept that this instance has not applied.
    public var hasUnapplied: Bool {
        self.state.withLock { state in
            (state.recent.firstNumber..<state.recent.endNumber).contains { state.recent[$0]?.isDone == false }
        }
    }

    // MARK: Private

    /// Removes the updates that were kept for long enough, except for those that nobody has applied.
    private func removeExpired(_ state: inout State, at instant: ContinuousClock.Instant) {
        while let first = state.recent.first, first.isDone || first.isOfOthers, self.isExpired(first, at: instant) {
            state.recent.removeFirst()
        }
    }

    private func isExpired(_ entry: RecentForeignUpdates.Entry, at instant: ContinuousClock.Instant) -> Bool {
        instant - entry.heardAt > .seconds(self.limits.recentSeconds)
    }

    /// Whether another instance was seen to apply updates within the last seconds.
    private func isOtherApplying(_ state: State, at instant: ContinuousClock.Instant) -> Bool {
        state.otherSeenAt.map { instant - $0 <= .seconds(self.limits.recentSeconds) } ?? false
    }

    /// The updates that nobody has applied, as far as is known.
    private func waiting(_ state: State) -> [RecentForeignUpdates.Entry] {
        (state.recent.firstNumber..<state.recent.endNumber).compactMap { state.recent[$0] }
            .filter { !$0.isDone && !$0.isOfOthers }
    }

    /// Queues an update for the task of its flow. Called under the lock, so that updates are queued in order.
    private func queue(_ number: Int, _ flow: FlowID, _ state: inout State) {
        state.pending += 1
        self.queues[flow.lane(of: Self.taskCount)].continuation.yield(Work(number: number, term: state.term))
    }

    /// Applies queued updates until the task is canceled.
    func run(_ manager: StateManager) async {
        await withDiscardingTaskGroup { group in
            for queue in self.queues {
                group.addTask { for await work in queue.stream { await self.perform(work, manager) } }
            }
        }
    }

    /// Applies one update; tries again until the store has answered, or until this instance no longer applies updates.
    private func perform(_ work: Work, _ manager: StateManager) async {
        var delay = Duration.milliseconds(50)
        while let entry = self.next(work) {
            if entry.isDone { return self.finish(work) }
            do throws(StoreError) {
                try await self.commit(entry, manager)
                return self.finish(work)
            } catch {
                if let count = self.failureLog.add() {
                    self.logger.warning(
                        "Failed to apply foreign update; will retry",
                        metadata: [
                            "flow_id": "\(entry.update.flow)", "error": "\(error)", "failures": .stringConvertible(count),
                        ])
                }
                do { try await Task.sleep(for: delay) } catch { return }
                delay = min(delay * 2, .seconds(2))
            }
        }
        self.skip(work)
    }

    /// The update of queued work; `nil` if the work is of an earlier term, or the update was done and removed.
    private func next(_ work: Work) -> RecentForeignUpdates.Entry? {
        self.state.withLock { $0.isApplying && $0.term == work.term ? $0.recent[work.number] : nil }
    }

    /// Takes back queued work whose update need not be applied any more.
    private func skip(_ work: Work) {
        self.state.withLock { state in
            if state.isApplying, state.term == work.term { state.pending -= 1 }
        }
    }

    /// Marks the update of queued work as done.
    private func finish(_ work: Work) {
        self.state.withLock { state in
            state.recent.finish(work.number)
            if state.term == work.term { state.pending -= 1 }
        }
    }

    /// Commits one update. An update that the store rejects is counted and not tried again.
    private func commit(_ entry: RecentForeignUpdates.Entry, _ manager: StateManager) async throws(StoreError) {
        let update = entry.update
        var account = self.account
        if account == nil { account = try await manager.heads(of: [update.flow]).first?.account }
        guard let account else { return self.monitor.count(.noAccount, flow: update.flow.rawValue) }
        var idempotency = FlowChange.Idempotency(key: "hub seed:\(update.identity)", fingerprint: update.digest)
        // Under the digest of the message alone.
        if entry.mayBeOfEarlierRelease { idempotency.formerKey = "hub seed:\(update.digest)" }
        let change = FlowChange(
            flow: update.flow, account: account, body: .patch(update.patch), idempotency: idempotency, at: self.now())
        switch try await manager.apply(change) {
        case .applied, .unchanged: self.applied.add(1, ordering: .relaxed)
        case .replayed: break
        case .rejected(.otherAccount): self.monitor.count(.otherAccount, flow: update.flow.rawValue)
        case .rejected(let reason): self.monitor.count(.rejected, flow: update.flow.rawValue, error: "\(reason)")
        }
    }
}
