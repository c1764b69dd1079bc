/// How much may wait for a store, and how much it does at once. Each is a configuration key of the server.
public struct StoreLimits: Hashable, Sendable {
    /// Changes under way or waiting at most; more are refused as ``StoreError/overloaded(_:)``.
    public var waitingChanges = 8_192
    /// Bytes of the bodies of these changes at most. One alone is always let in.
    public var waitingBytes = 67_108_864
    /// Reads under way or waiting at most; more are refused as ``StoreError/overloaded(_:)``.
    public var waitingReads = 4_096
    /// Changes in one transaction at most.
    public var groupChanges = 512
    /// Bytes of the bodies of these changes at most; one alone may have more.
    public var groupBytes = 8_388_608

    public init() {}

    package func makeChangeLimiter() -> InFlightLimiter {
        InFlightLimiter(
            maximumCount: self.waitingChanges, maximumBytes: self.waitingBytes,
            overloadReason: "too many changes wait to be written")
    }

    package func makeLimiter(_ overloadReason: String) -> InFlightLimiter {
        InFlightLimiter(maximumCount: self.waitingReads, maximumBytes: .max, overloadReason: overloadReason)
    }

    package func makeQueue() -> CommitQueue { CommitQueue(batchChanges: self.groupChanges, batchBytes: self.groupBytes) }
}
