import FlowCore

/// Deferred changes: they wait for rows that another transaction has locked, in order of arrival. A value type,
/// protected by its lane's mutex.
struct LockedRowQueue {
    /// Interval between two attempts to lock the rows.
    static let retryInterval = Duration.milliseconds(50)

    private var deferred: [PendingChange] = []
    /// Flows with deferred changes, waiting or in an attempt.
    private var flows: Set<FlowID> = []
    private var isRetrying = false

    /// Appends the change if its flow has deferred changes already, to keep the flow's order.
    /// - Returns: whether the change was appended.
    mutating func enqueueIfFlowDeferred(_ change: PendingChange) -> Bool {
        guard self.flows.contains(change.change.flow) else { return false }
        self.deferred.append(change)
        return true
    }

    /// Defers changes, before later ones of the same flows.
    /// - Parameter until: the deadline of changes that were not deferred before; the others keep theirs.
    /// - Returns: whether the caller must start the retries, because none are running.
    mutating func add(_ changes: some Sequence<PendingChange>, until: ContinuousClock.Instant) -> Bool {
        let first = changes.map { change in
            var change = change
            change.rowLockDeadline = change.rowLockDeadline ?? until
            return change
        }
        // In front, because later changes of these flows may have been appended during the attempt.
        self.deferred.insert(contentsOf: first, at: 0)
        self.flows.formUnion(first.map(\.change.flow))
        defer { self.isRetrying = true }
        return !self.isRetrying
    }

    /// Removes and returns all changes: those to retry, and those whose deadline has passed. Their flows count as
    /// deferred until ``batchFinished()``.
    mutating func nextBatch(now: ContinuousClock.Instant) -> (due: [PendingChange], expired: [PendingChange]) {
        defer { self.deferred = [] }
        let isExpired = { (change: PendingChange) in change.rowLockDeadline.map { $0 <= now } ?? false }
        return (self.deferred.filter { !isExpired($0) }, self.deferred.filter(isExpired))
    }

    /// Ends an attempt.
    /// - Returns: whether no deferred change is left; the caller then stops retrying.
    mutating func batchFinished() -> Bool {
        self.flows = Set(self.deferred.map(\.change.flow))
        self.isRetrying = !self.deferred.isEmpty
        return self.deferred.isEmpty
    }
}

/// The versions of flows that this process has seen under one epoch.
struct SeenVersions {
    private let epoch: Epoch
    private var versions: [FlowID: Version] = [:]

    init(epoch: Epoch) { self.epoch = epoch }

    /// Creates the set from the bases of a batch.
    init(_ batch: ChangeBatch) {
        self.epoch = batch.epoch
        self.versions = batch.rows.mapValues { $0.stored?.version ?? 0 }
    }

    /// Whether the rows that were read have a lower version than seen before under the same epoch.
    /// - Parameter lockedFlows: flows whose rows were not read.
    func isAhead(of batch: ChangeBatch, except lockedFlows: Set<FlowID>) -> Bool {
        guard self.epoch == batch.epoch else { return false }
        return batch.rows.contains { flow, row in
            !lockedFlows.contains(flow) && (row.stored?.version ?? 0) < self.versions[flow] ?? 0
        }
    }
}
