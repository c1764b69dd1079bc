/// A change that waits for the writer, with the continuation of its caller.
package struct PendingChange: Sendable {
    package let change: FlowChange
    package let continuation: CheckedContinuation<Result<FlowOutcome, StoreError>, Never>
    /// The time at which the change fails if another transaction still has its flow's row locked; `nil` if the change has
    /// not been deferred because of a locked row.
    package var rowLockDeadline: ContinuousClock.Instant?

    package init(change: FlowChange, continuation: CheckedContinuation<Result<FlowOutcome, StoreError>, Never>) {
        self.change = change
        self.continuation = continuation
    }
}

/// The queue of the changes that wait for a writer, in the order of their arrival (group commit).
///
/// States: *idle*, while no change waits and the writer does not run; *writing*, from the first addition until a batch is
/// finished and no change waits. Confined to its owner's lock. The number of waiting changes is bounded by the owner's
/// ``InFlightLimiter``.
package struct CommitQueue: ~Copyable {
    private let batchChanges: Int
    private let batchBytes: Int
    private var waiting: [PendingChange] = []
    private var isWriting = false

    /// - Parameters:
    ///   - batchChanges: maximum number of changes in one batch.
    ///   - batchBytes: maximum total size of the bodies of the changes in one batch, in bytes. A change that alone exceeds
    ///     it forms a batch of its own.
    package init(batchChanges: Int, batchBytes: Int) {
        self.batchChanges = max(1, batchChanges)
        self.batchBytes = batchBytes
    }

    /// Appends a change.
    /// - Returns: whether the writer was idle and must be started by the caller.
    package mutating func add(_ pending: PendingChange) -> Bool {
        self.waiting.append(pending)
        defer { self.isWriting = true }
        return !self.isWriting
    }

    /// Removes and returns the changes of the next batch; empty only if no change waits.
    package mutating func nextBatch() -> [PendingChange] {
        var bytes = 0
        var count = 0
        while count < min(self.waiting.count, self.batchChanges) {
            bytes += self.waiting[count].change.bodyBytes
            if count > 0, bytes > self.batchBytes { break }
            count += 1
        }
        var batch: [PendingChange] = []
        if count == self.waiting.count {
            swap(&batch, &self.waiting)
        } else {
            batch = Array(self.waiting[..<count])
            self.waiting.removeFirst(count)
        }
        return batch
    }

    /// Reports that the writer has finished a batch.
    /// - Returns: whether the writer must continue with another batch. If not, it is idle now.
    package mutating func batchFinished() -> Bool {
        self.isWriting = !self.waiting.isEmpty
        return self.isWriting
    }
}
