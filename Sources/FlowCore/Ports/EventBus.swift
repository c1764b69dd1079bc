/// How instances tell each other of events. It may lose, repeat and reorder messages: the sequencer and the version sweep
/// make up for all of it.
public protocol EventBus: Sendable {
    /// Hands messages to every instance that listens to their flows, this one included, in order. Does not wait and
    /// does not fail: what the bus loses, the sweep finds.
    /// - Parameter taken: called when the bus has taken all of them, from any thread; never if it could not.
    func publish(_ messages: [BusMessage], taken: (@Sendable () -> Void)?)
    /// Where messages go from now on. Called once, before anything else.
    func attach(_ sink: any BusSink)
    /// Asks for a flow's messages. ``BusSink/subscribed(to:)`` follows when they are sure to arrive.
    func subscribe(to flow: FlowID)
    func unsubscribe(from flow: FlowID)
    /// Whether messages get through just now.
    var isDelivering: Bool { get }
    /// Tells the other instances that something is there to be looked at. Hastens what they would find by themselves.
    func tellOthers(_ notice: PeerNotification)
    /// For the metrics; `nil` of a bus that cannot fail.
    var figures: BusMetrics? { get }
}

/// How a bus does.
public struct BusMetrics: Sendable {
    /// From publication to arrival, of the last message that this instance sent to itself.
    public var lagSeconds: Double?
    public var received = 0
    /// Of services beside the hub.
    public var foreign = 0
    /// Dropped, by the reason.
    public var refused: [(reason: String, count: Int)] = []
    /// Connections that answered and delivered nothing, and were given up.
    public var replacedConnections = 0

    public init() {}
}

extension EventBus {
    public func tellOthers(_ notice: PeerNotification) {}
    public var figures: BusMetrics? { nil }
    public func publish(_ messages: [BusMessage]) { self.publish(messages, taken: nil) }
}

/// What a bus calls, from any thread. It must not block.
public protocol BusSink: Sendable {
    func received(_ messages: [BusMessage])
    func subscribed(to flow: FlowID)
    /// Messages get through again.
    func deliveryChanged()
    /// Another instance says that there is something to look at.
    func noticed(_ notice: PeerNotification)
    /// Messages that were received and are not worked on yet. A bus that can, reads no more while there are many.
    var backlog: Int { get }
}

extension BusSink {
    public var backlog: Int { 0 }
    public func noticed(_ notice: PeerNotification) {}
}

/// What one instance tells the others beside events.
public enum PeerNotification: String, Hashable, Sendable {
    /// Tokens were revoked.
    case revocations
}

public struct BusMessage: Sendable {
    public enum Content: Sendable {
        /// An event with the flow as it was right after it.
        case durable(FlowEvent, head: FlowHead)
        case transient(TransientEvent)
        /// Of a service beside the hub, for whoever owns the flow. ``BusMessage/account`` says nothing.
        case foreign(TransientEvent)
    }

    public var flow: FlowID
    public var account: String
    public var epoch: Epoch
    public var content: Content

    public init(flow: FlowID, account: String, epoch: Epoch, content: Content) {
        self.flow = flow
        self.account = account
        self.epoch = epoch
        self.content = content
    }
}
