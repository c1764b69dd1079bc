/// A flow in a ``StateCache``.
public struct CachedFlow: Sendable {
    public var record: FlowRecord
    /// The epoch that the flow's version belongs to.
    public var epoch: Epoch
    /// A time as of which the flow was current: it has all changes that the store had then. `nil` if no read of the store has shown
    /// one, as for a change that this process has committed: another process may have committed a later one at once.
    public var currentAt: ContinuousClock.Instant?

    public init(record: FlowRecord, epoch: Epoch, currentAt: ContinuousClock.Instant?) {
        self.record = record
        self.epoch = epoch
        self.currentAt = currentAt
    }
}

/// The cache of flows in the memory of this process, which saves reads of the store. Called from any thread; never blocks.
///
/// A flow's version never decreases within an epoch. Other processes change the store too: what the store is known to have is
/// reported with ``compare(_:with:epoch:at:)``.
public protocol StateCache: Sendable {
    /// The cached flow; `nil` on a miss, or if its version is below `atLeast`.
    func flow(_ flow: FlowID, atLeast: Version) -> CachedFlow?
    /// Caches the flow, unless a higher version of it is known or `epoch` is not that of the last ``removeAll(epoch:)``.
    /// - Parameter readAt: a time before the read of the store that returned the flow began; `nil` if it was not read.
    /// - Returns: `false` if the flow was not cached for one of these reasons.
    @discardableResult
    func put(_ record: FlowRecord, epoch: Epoch, readAt: ContinuousClock.Instant?) -> Bool
    /// Reports the version that the store has of the flow. If the cached version is lower, drops the flow, and from then on
    /// ``put(_:epoch:readAt:)`` ignores it below that version. Otherwise the cached flow is current as of `instant`. Ignored if
    /// `epoch` is not that of the last ``removeAll(epoch:)``.
    /// - Parameters:
    ///   - version: 0 if the store does not have the flow.
    ///   - instant: a time before the read of the store began.
    func compare(_ flow: FlowID, with version: Version, epoch: Epoch, at instant: ContinuousClock.Instant)
    /// Drops all flows. From now on ``put(_:epoch:readAt:)`` ignores flows of another epoch.
    func removeAll(epoch: Epoch)
    /// The cached flows with their versions, for the version sweep.
    func versions() -> [FlowID: Version]
}

extension StateCache {
    /// The cached flow's record; `nil` on a miss, or if its version is below `atLeast`.
    public func record(of flow: FlowID, atLeast version: Version) -> FlowRecord? {
        self.flow(flow, atLeast: version)?.record
    }

    /// Caches the flow after a change that this process has committed.
    public func put(_ record: FlowRecord, epoch: Epoch) { self.put(record, epoch: epoch, readAt: nil) }
}

/// The store of each flow's latest transient event of every type, for snapshots. Best effort: events may be lost. Safe to use
/// from any task.
public protocol TransientStore: Sendable {
    /// Stores an event in place of the flow's earlier one of the same type. Does not wait.
    /// - Parameter version: the flow's version when the event was published.
    func record(_ event: TransientEvent, of flow: FlowID, at version: Version)
    /// The latest events that were published when the flow was at or above `version`, in order of publication.
    func latest(of flow: FlowID, since version: Version) async -> [TransientEvent]
    /// Drops the events in this process's memory, because their versions belong to an epoch that has been replaced.
    func removeAll()
}

/// Usage counters by name and day. An implementation may share them between instances and keep them across restarts. Called
/// from any thread.
public protocol Counters: Sendable {
    /// Adds to a counter. Does not wait.
    func add(_ amount: Int, to counter: Counter)
    /// The totals of the current day (UTC), as far as this process knows them.
    func totals() -> [Counter: Int]
}

/// The counters. Raw values are part of keys in Redis, so no other names are allowed. `r2…` counts successful and failed
/// operations of the object store R2, and the bytes of objects that they wrote or read.
public enum Counter: String, Hashable, Sendable, CaseIterable {
    case cacheStateHit = "cache:state:hit"
    case cacheStateMiss = "cache:state:miss"
    case eventsDurable = "events:durable"
    case eventsTransient = "events:transient"
    case cacheImportSampleHit = "cache:import_sample:hit"
    case cacheImportSampleMiss = "cache:import_sample:miss"
    case cacheSchemaAnalysisHit = "cache:schema_analysis:hit"
    case cacheSchemaAnalysisMiss = "cache:schema_analysis:miss"
    case r2PutSuccess = "r2:put:success"
    case r2PutFailure = "r2:put:failure"
    case r2PutBytes = "r2:put:bytes"
    case r2GetSuccess = "r2:get:success"
    case r2GetFailure = "r2:get:failure"
    case r2GetBytes = "r2:get:bytes"
    case r2HeadSuccess = "r2:head:success"
    case r2HeadFailure = "r2:head:failure"
    case r2HeadBytes = "r2:head:bytes"
    case r2DeleteSuccess = "r2:delete:success"
    case r2DeleteFailure = "r2:delete:failure"
    case r2DeleteBytes = "r2:delete:bytes"
    case r2ListSuccess = "r2:list:success"
    case r2ListFailure = "r2:list:failure"
    case r2ListBytes = "r2:list:bytes"
}
