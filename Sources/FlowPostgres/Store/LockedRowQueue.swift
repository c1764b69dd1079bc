import FlowCore

/// Changes that wait for rows which somebody else holds, in the order of their arrival. A value, confined to its lane's lock.
struct LockedRowQueue {
    /// Between two tries.
    static let pause = Duration.milliseconds(50)

    private var waiting: [PendingChange] = []
    /// Flows with changes that wait or are being tried.
    private var flows: Set<FlowID> = []
    private var isRetrying = false

    /// - Returns: whether the change goes behind others of its flow that wait already.
    mutating func takeAlong(_ change: PendingChange) -> Bool {
        guard self.flows.contains(change.change.flow) else { return false }
        self.waiting.append(change)
        return true
    }

    /// - Parameter until: how long those may wait that were not put aside before.
    /// - Returns: whether nobody tries yet.
    mutating func add(_ changes: some Sequence<PendingChange>, until: ContinuousClock.Instant) -> Bool {
        let first = changes.map { change in
            var change = change
            change.heldUntil = change.heldUntil ?? until
            return change
        }
        // Before those of their flows that came meanwhile.
        self.waiting.insert(contentsOf: first, at: 0)
        self.flows.formUnion(first.map(\.change.flow))
        defer { self.isRetrying = true }
        return !self.isRetrying
    }

    /// All of them, for another try, and those whose time is over. Their flows stay held until ``finish()``.
    mutating func take(now: ContinuousClock.Instant) -> (due: [PendingChange], expired: [PendingChange]) {
        defer { self.waiting = [] }
        let isExpired = { (change: PendingChange) in change.heldUntil.map { $0 <= now } ?? false }
        return (self.waiting.filter { !isExpired($0) }, self.waiting.filter(isExpired))
    }

    /// A try is over. - Returns: whether nothing waits any more; then nobody tries.
    mutating func finish() -> Bool {
        self.flows = Set(self.waiting.map(\.change.flow))
        self.isRetrying = !self.waiting.isEmpty
        return self.waiting.isEmpty
    }
}

/// The versions that a process has seen of flows, under one epoch.
struct SeenVersions {
    private let epoch: Epoch
    private var versions: [FlowID: Version] = [:]

    init(epoch: Epoch) { self.epoch = epoch }

    /// From what a batch was decided from.
    init(_ batch: ChangeBatch) {
        self.epoch = batch.epoch
        self.versions = batch.rows.mapValues { $0.stored?.version ?? 0 }
    }

    /// Whether the database is below what was seen of it in the same history.
    func isAhead(of batch: ChangeBatch, except held: Set<FlowID>) -> Bool {
        guard self.epoch == batch.epoch else { return false }
        return batch.rows.contains { flow, row in
            !held.contains(flow) && (row.stored?.version ?? 0) < self.versions[flow] ?? 0
        }
    }
}
