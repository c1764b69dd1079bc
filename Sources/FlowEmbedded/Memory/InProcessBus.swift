public import FlowCore
import Synchronization

/// The bus of a single-process hub: ``publish(_:onAccepted:)`` delivers the messages before it returns.
///
/// It delivers the messages of every flow. The sink looks up a message's flow anyway and drops those of unwatched
/// flows, so a list of subscriptions here would only repeat that lookup.
public final class InProcessBus: EventBus {
    private let sink = Mutex<(any BusSink)?>(nil)

    public init() {}

    /// Delivers the messages to the sink that ``attach(_:)`` has set, then calls `onAccepted`.
    public func publish(_ messages: [BusMessage], onAccepted: (@Sendable () -> Void)?) {
        // Called outside the mutex: a sink may call `subscribe(to:)` in response.
        if !messages.isEmpty { self.attached?.received(messages) }
        onAccepted?()
    }

    /// Sets the sink that receives all messages.
    public func attach(_ sink: any BusSink) { self.sink.withLock { $0 = sink } }

    /// Confirms the subscription on the caller's thread before it returns, because no server is involved.
    public func subscribe(to flow: FlowID) { self.attached?.subscribed(to: flow) }

    /// Has no effect: messages of all flows are delivered.
    public func unsubscribe(from flow: FlowID) {}

    /// Always `true`, because messages do not leave the process.
    public var isDelivering: Bool { true }

    private var attached: (any BusSink)? { self.sink.withLock { $0 } }
}
