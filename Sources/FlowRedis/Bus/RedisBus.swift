public import FlowCore
import Logging
import NIOCore
import Synchronization

/// The bus of many instances: what one publishes reaches all that subscribe to its flow, through Redis.
///
/// What this instance publishes it delivers to itself at once and does not wait for the echo. Nothing here has to work for a
/// subscriber to get everything: what is lost, the version sweep finds.
public final class RedisBus: EventBus {
    private enum Operation {
        case publish(channel: String, messages: [[UInt8]], taken: (@Sendable () -> Void)?)
        case subscribe(FlowID)
        case unsubscribe(FlowID)
    }

    private let codec: MessageCodec
    private let core: NIOLoopBoundBox<BusCore>
    private let loop: any EventLoop
    private let sink = Mutex<(any BusSink)?>(nil)
    private let orders = Mutex<[Operation]>([])
    private let sequence = Atomic<UInt64>(0)
    private let health: BusHealth
    private let control: ControlChannel

    init(
        _ core: NIOLoopBoundBox<BusCore>, codec: MessageCodec, control: ControlChannel, health: BusHealth, loop: any EventLoop
    ) {
        self.core = core
        self.codec = codec
        self.control = control
        self.health = health
        self.loop = loop
    }

    public var isDelivering: Bool { self.health.isDelivering }

    public func tellOthers(_ notice: PeerNotification) { self.control.tellOthers(notice) }

    public var figures: BusMetrics? {
        var figures = BusMetrics()
        figures.lagSeconds = self.health.lag.map { Double($0) / 1_000 }
        figures.received = self.health.receivedMessages
        figures.foreign = self.health.foreignMessages
        figures.refused = self.health.refused
        figures.replacedConnections = self.health.replacedConnections
        return figures
    }

    public func attach(_ sink: any BusSink) {
        self.sink.withLock { $0 = sink }
        self.control.onNotice { sink.noticed($0) }
        self.loop.execute { self.core.value.sink = sink }
    }

    public func publish(_ messages: [BusMessage], taken: (@Sendable () -> Void)?) {
        guard !messages.isEmpty else {
            taken?()
            return
        }
        self.sink.withLock { $0 }?.received(messages)
        let left = taken.map { CountdownLatch(of: messages.count, then: $0) }
        var orders: [Operation] = []
        orders.reserveCapacity(messages.count)
        for message in messages {
            let number = self.sequence.add(1, ordering: .relaxed).newValue
            orders.append(
                .publish(
                    channel: BusCore.channel(of: message.flow), messages: [self.codec.encode(message, sequence: number)],
                    taken: left.map { count in { @Sendable in count.countDown() } }))
        }
        self.enqueue(orders)
    }

    public func subscribe(to flow: FlowID) { self.enqueue([.subscribe(flow)]) }
    public func unsubscribe(from flow: FlowID) { self.enqueue([.unsubscribe(flow)]) }

    /// Orders that come together are carried out in one turn of the loop, in their order.
    private func enqueue(_ new: [Operation]) {
        let isFirst = self.orders.withLock { orders in
            orders += new
            return orders.count == new.count
        }
        if isFirst { self.loop.execute { self.carryOut() } }
    }

    private func carryOut() {
        let orders = self.orders.withLock { orders in
            defer { orders = [] }
            return orders
        }
        let core = self.core.value
        for order in orders {
            switch order {
            case .publish(let channel, let messages, let taken): core.publish(messages, on: channel, taken: taken)
            case .subscribe(let flow): core.subscribe(to: flow)
            case .unsubscribe(let flow): core.unsubscribe(from: flow)
            }
        }
        core.flushSubscriptions()
    }
}

/// Does something when it was counted down to nothing.
private final class CountdownLatch: Sendable {
    private let left: Atomic<Int>
    private let then: @Sendable () -> Void

    init(of count: Int, then: @escaping @Sendable () -> Void) {
        self.left = Atomic(count)
        self.then = then
    }

    func countDown() { if self.left.subtract(1, ordering: .acquiringAndReleasing).newValue == 0 { self.then() } }
}

/// How the bus does, for whoever asks from any thread.
public final class BusHealth: Sendable {
    private let delivering = Atomic<Bool>(false)
    private let lagMilliseconds = Atomic<Int64>(-1)
    private let refusals = Mutex<[MessageCodec.RejectReason: Int]>([:])
    private let foreign = Atomic<Int>(0)
    private let received = Atomic<Int>(0)
    private let replaced = Atomic<Int>(0)

    init() {}

    /// Whether what is published arrives here, as the canary showed.
    public var isDelivering: Bool { self.delivering.load(ordering: .relaxed) }
    /// Milliseconds that the last canary took; `nil` before the first one.
    public var lag: Int64? {
        let lag = self.lagMilliseconds.load(ordering: .relaxed)
        return lag < 0 ? nil : lag
    }
    /// Messages that were dropped, by the reason.
    public var refused: [(reason: String, count: Int)] {
        let counts = self.refusals.withLock { $0 }
        return MessageCodec.RejectReason.allCases.map { ($0.rawValue, counts[$0] ?? 0) }
    }
    /// Messages of services that know the seed's format only.
    public var foreignMessages: Int { self.foreign.load(ordering: .relaxed) }
    public var receivedMessages: Int { self.received.load(ordering: .relaxed) }
    /// Subscribers' connections that delivered nothing and were given up.
    public var replacedConnections: Int { self.replaced.load(ordering: .relaxed) }

    func set(isDelivering: Bool) { self.delivering.store(isDelivering, ordering: .relaxed) }
    func set(lag: Int64) { self.lagMilliseconds.store(lag, ordering: .relaxed) }
    func refuse(_ reason: MessageCodec.RejectReason) { self.refusals.withLock { $0[reason, default: 0] += 1 } }
    func tookForeign() { self.foreign.add(1, ordering: .relaxed) }
    func took() { self.received.add(1, ordering: .relaxed) }
    func replacedConnection() { self.replaced.add(1, ordering: .relaxed) }
}
