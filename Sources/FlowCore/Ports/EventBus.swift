/// The pub/sub bus between the instances.
///
/// It may lose, repeat and reorder messages: ``Sequencer`` restores the order, and the version sweep finds lost events. So
/// no method waits or fails. Called from any thread.
public protocol EventBus: Sendable {
    /// Sends messages to every instance that has subscribed to their flows, in order. This instance's own sink receives them
    /// before the call returns.
    /// - Parameter onAccepted: called once the bus has acknowledged all messages, from any thread. Never called if one of
    ///   them was not acknowledged.
    func publish(_ messages: [BusMessage], onAccepted: (@Sendable () -> Void)?)
    /// Sets the receiver of all messages. Called once, before any other method.
    func attach(_ sink: any BusSink)
    /// Subscribes to a flow's messages. ``BusSink/subscribed(to:)`` follows once the bus has confirmed the subscription.
    func subscribe(to flow: FlowID)
    /// Ends the subscription to a flow's messages. Messages that are in flight may still arrive.
    func unsubscribe(from flow: FlowID)
    /// Whether published messages reach the subscribed instances at the moment.
    var isDelivering: Bool { get }
    /// Sends a hint, such as "revocations changed", to the other instances. It may be lost: they find the same change
    /// later by polling the store.
    func notifyPeers(_ notification: PeerNotification)
    /// Reports that this instance ends soon: another one should do what one instance does for all.
    func startDraining()
    /// Completes what this instance does for all and no other one has taken over. Called at the end of the drain, while changes
    /// can still be committed.
    func finish() async
    /// Counters of the bus; `nil` if it runs within the process and cannot fail.
    var metrics: BusMetrics? { get }
}

/// Counters of a bus, for `/metrics`.
public struct BusMetrics: Sendable {
    /// Time from publication to arrival of the last canary, in seconds; `nil` before the first one.
    public var lagSeconds: Double?
    /// Number of messages received, of any kind.
    public var received = 0
    /// Number of valid messages received from processes other than hub instances.
    public var foreign = 0
    /// Number of foreign messages that were neither delivered nor applied, by reason.
    public var foreignUndelivered: [(reason: String, count: Int)] = []
    /// Number of foreign updates that this instance has applied.
    public var foreignApplied = 0
    /// Number of foreign updates that wait to be applied by this instance.
    public var foreignPending = 0
    /// Whether this instance is the one that applies foreign updates.
    public var appliesForeign = false
    /// Number of received messages that were dropped as invalid, by reason.
    public var rejected: [(reason: String, count: Int)] = []
    /// Number of subscriber connections that were replaced because they answered commands but delivered no messages.
    public var replacedConnections = 0
    /// Number of commands sent to the bus's server, by command.
    public var commands: [(command: String, count: Int)] = []

    public init() {}
}

extension EventBus {
    /// Does nothing: the default for a bus within one process, which has no other instances.
    public func notifyPeers(_ notification: PeerNotification) {}
    /// Does nothing: the default for a bus within one process.
    public func startDraining() {}
    /// Does nothing: the default for a bus within one process.
    public func finish() async {}
    /// `nil`: the default for a bus that cannot fail.
    public var metrics: BusMetrics? { nil }
    /// Sends messages without a callback for their acknowledgment.
    public func publish(_ messages: [BusMessage]) { self.publish(messages, onAccepted: nil) }
}

/// The receiver of a bus's messages. Called from any thread; must not block.
public protocol BusSink: Sendable {
    /// Receives messages in the order of their arrival.
    func received(_ messages: [BusMessage])
    /// Reports that the bus has confirmed a subscription: messages published from now on are received, unless lost.
    func subscribed(to flow: FlowID)
    /// Reports that the bus delivers again after an interruption, in which messages may have been lost.
    func deliveryChanged()
    /// Receives a hint that another instance sent with ``EventBus/notifyPeers(_:)``.
    func receivedNotification(_ notification: PeerNotification)
    /// Number of received messages that are not processed yet. A bus with backpressure stops reading from its connection
    /// while the number exceeds the bus's limit.
    var backlog: Int { get }
}

extension BusSink {
    /// 0: the default for a sink that processes messages before ``received(_:)`` returns.
    public var backlog: Int { 0 }
    /// Ignores the hint: the default for a sink that needs none.
    public func receivedNotification(_ notification: PeerNotification) {}
}

/// A hint from one instance to the others. Raw values are part of the format between instances.
public enum PeerNotification: String, Hashable, Sendable {
    /// The revocations in the store have changed.
    case revocations
}

/// One event of a flow, as it is published on the bus.
public struct BusMessage: Sendable {
    /// The event and its kind.
    public enum Content: Sendable {
        /// A durable event, with the flow's head after the commit that contains the event.
        case durable(FlowEvent, head: FlowHead)
        /// A transient event, published by a hub instance.
        case transient(TransientEvent)
        /// A foreign event, published by a process other than a hub instance. ``BusMessage/account`` is the one whose
        /// subscribers receive it; if it is empty, this is the account that owns the flow.
        case foreign(TransientEvent)
    }

    public var flow: FlowID
    /// The publisher's account; for a durable event, this is also the flow's account. See ``Content/foreign(_:)``.
    public var account: String
    /// The epoch under which the event was published.
    public var epoch: Epoch
    public var content: Content

    public init(flow: FlowID, account: String, epoch: Epoch, content: Content) {
        self.flow = flow
        self.account = account
        self.epoch = epoch
        self.content = content
    }
}
