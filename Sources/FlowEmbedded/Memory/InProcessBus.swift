public import FlowCore
import Synchronization

/// The bus of a single-process hub: messages are received before ``publish(_:onAccepted:)`` returns.
///
/// It forwards the messages of every flow. The sink looks up a message's flow anyway and drops those of unwatched
/// flows, so a list of subscriptions here would only repeat that lookup.
public final class InProcessBus: EventBus {
    private let sink = Mutex<(any BusSink)?>(nil)

    public init() {}

    public func publish(_ messages: [BusMessage], onAccepted: (@Sendable () -> Void)?) {
        // Called outside the mutex: a sink may call `subscribe(to:)` in response.
        if !messages.isEmpty { self.attached?.received(messages) }
        onAccepted?()
    }

    public func attach(_ sink: any BusSink) { self.sink.withLock { $0 = sink } }

    /// Confirms the subscription synchronously on the caller's thread, because no server is involved.
    public func subscribe(to flow: FlowID) { self.attached?.subscribed(to: flow) }

    public func unsubscribe(from flow: FlowID) {}

    public var isDelivering: Bool { true }

    private var attached: (any BusSink)? { self.sink.withLock { $0 } }
}
