/// A change that waits for the writer, and whoever waits for its outcome.
package struct PendingChange: Sendable {
    package let change: FlowChange
    package let continuation: CheckedContinuation<Result<FlowOutcome, StoreError>, Never>
    /// Until when it may wait for a row that somebody else holds; set when it was found held.
    package var rowLockDeadline: ContinuousClock.Instant?

    package init(change: FlowChange, continuation: CheckedContinuation<Result<FlowOutcome, StoreError>, Never>) {
        self.change = change
        self.continuation = continuation
    }
}

/// The changes that wait for the writer, in the order of their arrival. *Idle*, while nothing waits and nobody writes;
/// *writing* from the first addition until a batch is done and nothing waits.
///
/// How many may wait is the business of the ``InFlightLimiter`` before it.
package struct CommitQueue: ~Copyable {
    private let batchChanges: Int
    private let batchBytes: Int
    private var waiting: [PendingChange] = []
    private var isWriting = false

    /// - Parameters:
    ///   - batchChanges: changes in one batch at most.
    ///   - batchBytes: bytes of their bodies at most; one alone may have more.
    package init(batchChanges: Int, batchBytes: Int) {
        self.batchChanges = max(1, batchChanges)
        self.batchBytes = batchBytes
    }

    /// - Returns: whether the writer is idle and must be started.
    package mutating func add(_ pending: PendingChange) -> Bool {
        self.waiting.append(pending)
        defer { self.isWriting = true }
        return !self.isWriting
    }

    /// The next batch: at least one change if any waits.
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

    /// A batch is done.
    /// - Returns: whether the writer must go on with another; if not, it is idle.
    package mutating func batchFinished() -> Bool {
        self.isWriting = !self.waiting.isEmpty
        return self.isWriting
    }
}
