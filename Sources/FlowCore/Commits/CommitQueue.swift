/// A change that waits for the writer, with the continuation of its caller.
package struct PendingChange: Sendable {
    package typealias Continuation = CheckedContinuation<Result<ChangeBatch.Decision, StoreError>, Never>

    package let change: FlowChange
    package let continuation: Continuation
    /// The time at which the change fails if another transaction still has its flow's row locked; `nil` if the change has
    /// not been deferred because of a locked row.
    package var rowLockDeadline: ContinuousClock.Instant?

    package init(change: FlowChange, continuation: Continuation) {
        self.change = change
        self.continuation = continuation
    }
}

/// The queue of the changes that wait for a writer (group commit). Changes of one account are in the order of their arrival;
/// accounts take turns, see ``FairQueue``.
///
/// States: *idle*, while no change waits and the writer does not run; *writing*, from the first addition until a batch is
/// finished and no change waits. Confined to its owner's lock. The number of waiting changes is bounded by the owner's
/// ``InFlightLimiter``.
package struct CommitQueue: ~Copyable, Sendable {
    private let batchChanges: Int
    private let batchBytes: Int
    private var waiting: FairQueue<PendingChange>
    private var isWriting = false

    /// - Parameters:
    ///   - batchChanges: maximum number of changes in one batch.
    ///   - batchBytes: maximum total of ``FlowChange/commitBytes(stateBytes:)`` of the changes in one batch, in bytes. A change
    ///     counts with at least its share, `batchBytes / batchChanges`. One that alone exceeds the maximum forms a batch of its
    ///     own.
    package init(batchChanges: Int, batchBytes: Int) {
        self.batchChanges = max(1, batchChanges)
        self.batchBytes = batchBytes
        // Small enough that a turn of one account does not fill the batch.
        self.waiting = FairQueue(turnCost: max(1, batchBytes / 16))
    }

    /// Adds a change.
    /// - Returns: whether the writer was idle and must be started by the caller.
    package mutating func add(_ pending: PendingChange) -> Bool {
        self.waiting.add(pending, of: pending.change.account)
        defer { self.isWriting = true }
        return !self.isWriting
    }

    /// Removes and returns the changes of the next batch; empty only if no change waits.
    /// - Parameter stateBytes: the size of a flow's state, in bytes; 0 if it is not known.
    package mutating func nextBatch(stateBytes: (FlowID) -> Int) -> [PendingChange] {
        var batch: [PendingChange] = []
        var bytes = 0
        // A change without a body costs the writer a row, too. Free of cost, any number of them would fit into one turn.
        let share = max(self.batchBytes / self.batchChanges, 1)
        while batch.count < self.batchChanges {
            let budget = batch.isEmpty ? Int.max : self.batchBytes - bytes
            let next = self.waiting.next(within: budget) { pending in
                max(share, pending.change.commitBytes(stateBytes: stateBytes(pending.change.flow)))
            }
            guard let next else { break }
            bytes += next.cost
            batch.append(next.element)
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
