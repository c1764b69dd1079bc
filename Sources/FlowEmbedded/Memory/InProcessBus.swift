public import FlowCore
import Synchronization

/// The bus of a hub that is one process: what is published is received before ``publish(_:onAccepted:)`` returns.
///
/// It passes on messages of every flow. The sink looks a message's flow up anyway and drops what nobody watches; a list of
/// subscriptions here would only be a second look-up of the same thing.
public final class InProcessBus: EventBus {
    private let sink = Mutex<(any BusSink)?>(nil)

    public init() {}

    public func publish(_ messages: [BusMessage], onAccepted: (@Sendable () -> Void)?) {
        // Out of the lock before the call: a sink may subscribe from within it.
        if !messages.isEmpty { self.attached?.received(messages) }
        onAccepted?()
    }

    public func attach(_ sink: any BusSink) { self.sink.withLock { $0 = sink } }

    /// Confirmed before this returns, on the caller's thread: there is nobody to ask.
    public func subscribe(to flow: FlowID) { self.attached?.subscribed(to: flow) }

    public func unsubscribe(from flow: FlowID) {}

    public var isDelivering: Bool { true }

    private var attached: (any BusSink)? { self.sink.withLock { $0 } }
}
