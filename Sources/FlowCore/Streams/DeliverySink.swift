/// Where the events of watched flows leave the core: one for each event loop. Called from any thread; must not block.
/// Deliveries of one flow arrive in the order in which they are made.
public protocol DeliverySink: Sendable {
    func deliver(_ delivery: Delivery)
    /// Deliveries that it has not got round to.
    var backlog: Int { get }
}

public enum Delivery: Sendable {
    /// The flow is being followed from this state on: everything above its version will be delivered. `nil`: the flow does
    /// not exist yet. `head` is above the record's where events were delivered while it was read: then everything above that
    /// follows.
    case opened(FlowID, FlowRecord?, head: FlowHead?, epoch: Epoch, last: [TransientEvent])
    /// The next durable events; none where all of them were pruned. `head` is the flow at or after the last of them: its
    /// account holds in any case, the rest if the version is the same.
    case events(FlowID, [Frame], head: FlowHead?)
    case transient(FlowID, account: String, TransientEvent, Frame)
    /// The store has a new history: whatever subscribers hold means nothing any more.
    case reset(Epoch)
    /// Delivery became better or worse; subscribers are told at once.
    case status(DeliveryStatus)
    /// Tokens were revoked: look through the streams.
    case revoked(RevocationList)
}

extension DeliverySink {
    public var backlog: Int { 0 }
}
