public import FlowCore
import Synchronization
import Testing

/// Contract tests that every ``EventBus`` passes while its server is available. Outages are tested for each bus separately.
public enum EventBusContract {
    public typealias Case = ContractCase<any EventBus>

    /// A sink that exposes received messages and confirmed subscriptions as streams, so that a test can wait for them.
    final class Sink: BusSink {
        private let messageContinuation: AsyncStream<BusMessage>.Continuation
        private let confirmationContinuation: AsyncStream<FlowID>.Continuation
        let messages: AsyncStream<BusMessage>
        let confirmations: AsyncStream<FlowID>

        init() {
            (self.messages, self.messageContinuation) = AsyncStream.makeStream()
            (self.confirmations, self.confirmationContinuation) = AsyncStream.makeStream()
        }

        func received(_ messages: [BusMessage]) {
            for message in messages { self.messageContinuation.yield(message) }
        }

        func subscribed(to flow: FlowID) { self.confirmationContinuation.yield(flow) }

        func deliveryChanged() {}
    }

    public static let cases: [Case] = [
        Case("a confirmed subscription receives every published message, complete and in order") { bus in
            let sink = Sink()
            bus.attach(sink)
            let id = try flow("a")
            let epoch = Epoch(counter: 36, random: "a")
            bus.subscribe(to: id)
            var confirmations = sink.confirmations.makeAsyncIterator()
            #expect(await confirmations.next() == id)
            let head = FlowHead(flow: id, account: "1", version: 7, status: .active, resetVersion: 3, updatedAt: start)
            let event = FlowEvent(version: 7, type: try type("x"), payload: try json(#"{"data":"\u0000"}"#), createdAt: start)
            let transient = TransientEvent(type: try type("y"), data: try json("[1.0]"), createdAt: start)
            bus.publish([BusMessage(flow: id, account: "1", epoch: epoch, content: .durable(event, head: head))])
            bus.publish(
                (0..<100).map { _ in BusMessage(flow: id, account: "1", epoch: epoch, content: .transient(transient)) })
            var messages = sink.messages.makeAsyncIterator()
            let first = try #require(await messages.next())
            guard case .durable(event, head: head) = first.content else {
                Issue.record("the first message is not the published durable event")
                return
            }
            #expect(first.flow == id)
            #expect(first.account == "1")
            #expect(first.epoch == epoch)
            for _ in 0..<100 {
                guard case .transient(transient)? = await messages.next()?.content else {
                    Issue.record("a message is not the published transient event")
                    return
                }
            }
            #expect(bus.isDelivering)
            bus.unsubscribe(from: id)
        }
    ]
}
