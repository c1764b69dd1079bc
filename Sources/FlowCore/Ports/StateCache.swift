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
    /// Caches the flow, unless a higher version of it is known, `epoch` is below that of the cache, or the cache has no epoch yet.
    /// A higher epoch becomes that of the cache, as by ``advance(to:)``: a change may be committed under it before it is announced,
    /// and a load that began before the change must not be cached afterwards.
    /// - Parameter readAt: a time before the read of the store that returned the flow began; `nil` if it was not read.
    /// - Returns: `false` if the flow was not cached for one of these reasons.
    @discardableResult
    func put(_ record: FlowRecord, epoch: Epoch, readAt: ContinuousClock.Instant?) -> Bool
    /// Reports the version that the store has of the flow. If the cached version is lower, drops the flow, and from then on
    /// ``put(_:epoch:readAt:)`` ignores it below that version. Otherwise the cached flow is current as of `instant`. Ignored if
    /// `epoch` is not that of the cache.
    /// - Parameters:
    ///   - version: 0 if the store does not have the flow.
    ///   - instant: a time before the read of the store began.
    func compare(_ flow: FlowID, with version: Version, epoch: Epoch, at instant: ContinuousClock.Instant)
    /// Makes an epoch that of the cache, and drops the flows of earlier ones. Without effect if the cache has this epoch or a later
    /// one.
    func advance(to epoch: Epoch)
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
