/// The cache of flows in Redis, shared by all instances, and readable by other services. It may be lost at any time. Safe to
/// use from any task.
public protocol SharedStateCache: Sendable {
    /// Caches the flow unless a higher version of it is cached. Does not wait; a failure has no effect.
    func put(_ record: FlowRecord, epoch: Epoch)
    /// The cached flow; `nil` if there is none, its version is below `version`, it is from another epoch, it was not written
    /// by this hub, or the cache does not answer in time.
    func record(of flow: FlowID, atLeast version: Version, epoch: Epoch) async -> FlowRecord?
}
