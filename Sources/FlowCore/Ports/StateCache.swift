/// The cache of flows in the memory of this process, which saves reads of the store. Called from any thread; never blocks.
///
/// A flow's version never decreases within an epoch. The version sweep keeps the cached flows current.
public protocol StateCache: Sendable {
    /// The cached flow; `nil` on a miss, or if its version is below `atLeast`.
    func record(of flow: FlowID, atLeast: Version) -> FlowRecord?
    /// Caches the flow, unless a higher version of it is cached or `epoch` is not that of the last ``removeAll(epoch:)``.
    func put(_ record: FlowRecord, epoch: Epoch)
    /// Drops the cached flow if its version is below `version`. From then on ``put(_:epoch:)`` ignores the flow below
    /// `version`. So the next read of an outdated flow goes to the store.
    func remove(_ flow: FlowID, below version: Version)
    /// Drops all flows. From now on ``put(_:epoch:)`` ignores flows of another epoch.
    func removeAll(epoch: Epoch)
    /// The cached flows with their versions, for the version sweep.
    func versions() -> [FlowID: Version]
}
