/// Flows as the instances of a hub leave them for each other, and for services that only read. Losing it loses nothing.
public protocol SharedStateCache: Sendable {
    /// Leaves the flow, unless a newer one is there. Does not wait; goes out with what is published next.
    func put(_ record: FlowRecord, epoch: Epoch)
    /// The flow as somebody left it; `nil` if it is not there, is older than `version`, of another epoch, not from this hub, or
    /// not to be had at once.
    func record(of flow: FlowID, atLeast version: Version, epoch: Epoch) async -> FlowRecord?
}
