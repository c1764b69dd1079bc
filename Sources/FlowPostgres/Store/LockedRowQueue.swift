import FlowCore

/// Deferred changes, in order of arrival: another transaction has locked the rows of their flows. A value type,
/// protected by its lane's mutex.
struct LockedRowQueue {
    /// Interval between two attempts to lock the rows.
    static let retryInterval = Duration.milliseconds(50)

    /// The changes that wait for the next retry, in order of arrival.
    private var deferred: [PendingChange] = []
    /// Flows with deferred changes, whether these wait or are being retried.
    private var flows: Set<FlowID> = []
    /// Whether a task of the lane retries the deferred changes.
    private var isRetrying = false

    /// Appends the change if its flow has deferred changes already, to keep the flow's order.
    /// - Returns: whether the change was appended.
    mutating func enqueueIfFlowDeferred(_ change: PendingChange) -> Bool {
        guard self.flows.contains(change.change.flow) else { return false }
        self.deferred.append(change)
        return true
    }

    /// Defers changes whose rows were found locked.
    /// - Parameter until: the deadline of changes that are deferred for the first time; changes that were deferred
    ///   before keep their deadlines.
    /// - Returns: whether the caller must start the retries, because none are running.
    mutating func add(_ changes: some Sequence<PendingChange>, until: ContinuousClock.Instant) -> Bool {
        let first = changes.map { change in
            var change = change
            change.rowLockDeadline = change.rowLockDeadline ?? until
            return change
        }
        // In front of the queue: while these changes were tried, later changes of the same flows may have been
        // appended.
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

    /// Ends the retry of the changes from ``nextBatch(now:)``.
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

    /// Creates an empty set: no version was seen under this epoch.
    init(epoch: Epoch) { self.epoch = epoch }

    /// Creates the set of the versions from which a batch was decided.
    init(_ batch: ChangeBatch) {
        self.epoch = batch.epoch
        // A tombstone may end at any time. Then its flow has no row, which does not show that the database is older.
        self.versions = batch.rows.compactMapValues { row in
            row.stored.flatMap { $0.head.isDeleted ? nil : $0.version }
        }
    }

    /// Whether a flow was seen with a higher version, under the same epoch, than the batch has read now. A flow without a row
    /// counts with its floor: it may have been deleted elsewhere, and its tombstone has ended.
    /// - Parameter lockedFlows: flows whose rows were not read.
    func isAhead(of batch: ChangeBatch, except lockedFlows: Set<FlowID>) -> Bool {
        guard self.epoch == batch.epoch else { return false }
        return batch.rows.contains { flow, row in
            !lockedFlows.contains(flow) && (row.stored?.version ?? row.floor) < self.versions[flow] ?? 0
        }
    }
}
