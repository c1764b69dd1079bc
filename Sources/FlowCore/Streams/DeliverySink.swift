/// The core's outbound port to the streams of one event loop, which receives the deliveries of watched flows.
public protocol DeliverySink: Sendable {
    /// Queues a delivery. Called from any thread, under a lock of ``WatchTable``: must not block or call the table.
    /// Deliveries of one flow are made in order.
    func deliver(_ delivery: Delivery)
    /// Number of deliveries that the sink has queued and not processed yet.
    var backlog: Int { get }
}

/// One item that ``WatchTable`` hands to a ``DeliverySink``.
public enum Delivery: Sendable {
    /// The flow's watch is open: every durable event above `head` will be delivered to this sink. The `FlowRecord` is the
    /// stored flow; `nil` if the flow never existed. `head` is the head of the stored flow, or a later head if events were
    /// delivered while the flow was read; `nil` if there is neither. `last` are the latest transient events, read after the
    /// stored flow.
    case opened(FlowID, FlowRecord?, head: FlowHead?, epoch: Epoch, last: [TransientEvent])
    /// The next durable events, in version order; none if all of them were pruned. `head` is a head of the flow at or after
    /// the last event; `nil` if no head is known. The account in `head` is always valid, its other properties only if its
    /// version is that of the last event.
    case events(FlowID, [Frame], head: FlowHead?)
    /// A transient event, both decoded and encoded. `account` is the publisher's, or for a foreign event the flow's.
    case transient(FlowID, account: String, TransientEvent, Frame)
    /// This instance has adopted a new epoch: every subscriber's position is invalid. For each watched flow an `opened`
    /// follows when the flow has been read again.
    case reset(Epoch)
    /// The delivery status has changed. Subscribers are sent a heartbeat with it immediately.
    case status(DeliveryStatus)
    /// The revocations have changed: the sink must close the streams whose token is now revoked.
    case revoked(RevocationList)
}

extension DeliverySink {
    /// 0: the default for a sink that processes deliveries immediately.
    public var backlog: Int { 0 }
}
