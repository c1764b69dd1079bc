/// The limits of a store's queues and batches. Each is a setting of the hub.
public struct StoreLimits: Hashable, Sendable {
    /// Maximum number of changes that wait or are in flight. Further ones fail with ``StoreError/overloaded(_:)``.
    public var waitingChanges = 8_192
    /// Maximum total size of the bodies of the changes that wait or are in flight, in bytes. A change that alone exceeds it
    /// is admitted when no other change waits or is in flight.
    public var waitingBytes = 67_108_864
    /// Maximum number of changes of one account that wait or are in flight.
    public var accountWaitingChanges = 4_096
    /// Maximum total size of their bodies in bytes, likewise.
    public var accountWaitingBytes = 33_554_432
    /// Maximum number of reads that wait or are in flight. Further ones fail with ``StoreError/overloaded(_:)``.
    public var waitingReads = 4_096
    /// Maximum number of changes in one batch.
    public var groupChanges = 512
    /// Maximum total size of the bodies in one batch and of the states that its patches result in, in bytes. A change that alone
    /// exceeds it forms a batch of its own.
    public var groupBytes = 1_048_576

    public init() {}

    /// Creates the limiter of changes.
    package func makeChangeLimiter() -> InFlightLimiter {
        InFlightLimiter(
            maximumCount: self.waitingChanges, maximumBytes: self.waitingBytes,
            accountCount: self.accountWaitingChanges, accountBytes: self.accountWaitingBytes,
            overloadReason:
                "write queue is full: at most \(self.waitingChanges) changes and \(self.waitingBytes) bytes may wait, "
                + "\(self.accountWaitingChanges) changes and \(self.accountWaitingBytes) bytes of one account")
    }

    /// Creates a limiter with the maximum of ``waitingReads`` operations, without a limit of bytes.
    /// - Parameter overloadReason: the text of the error for further operations.
    package func makeLimiter(_ overloadReason: String) -> InFlightLimiter {
        InFlightLimiter(maximumCount: self.waitingReads, maximumBytes: .max, overloadReason: overloadReason)
    }

    /// Creates a queue with the limits of batches.
    package func makeQueue() -> CommitQueue { CommitQueue(batchChanges: self.groupChanges, batchBytes: self.groupBytes) }
}
