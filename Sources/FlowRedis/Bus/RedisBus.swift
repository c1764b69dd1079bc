public import FlowCore
import Logging
import NIOCore
import Synchronization

/// ``EventBus`` over Redis pub/sub: a message reaches all instances that are subscribed to its flow.
///
/// An instance delivers its own messages to itself immediately, without waiting for their echo. No durable event
/// depends on the bus: the version sweep finds those that were lost.
public final class RedisBus: EventBus {
    /// A call of one of the public methods, which runs in the next turn of the event loop.
    private enum Operation {
        case publish(channel: String, message: [UInt8], onAccepted: (@Sendable () -> Void)?)
        case subscribe(FlowID)
        case unsubscribe(FlowID)
    }

    private let codec: MessageCodec
    private let core: NIOLoopBoundBox<BusCore>
    private let loop: any EventLoop
    private let sink = Mutex<(any BusSink)?>(nil)
    private let operations = Mutex<[Operation]>([])
    /// Number of the most recently encoded message of this process.
    private let sequence = Atomic<UInt64>(0)
    private let health: BusHealth
    private let control: ControlChannel
    private let commands: CommandCounter
    private let foreignMonitor: ForeignMessageMonitor
    private let applier: ForeignUpdateApplier?

    /// - Parameter applier: applies foreign updates; `nil` unless the policy is ``ForeignPolicy/apply``.
    init(
        _ core: NIOLoopBoundBox<BusCore>, codec: MessageCodec, control: ControlChannel, health: BusHealth,
        commands: CommandCounter, foreignMonitor: ForeignMessageMonitor, applier: ForeignUpdateApplier?, loop: any EventLoop
    ) {
        self.foreignMonitor = foreignMonitor
        self.applier = applier
        self.core = core
        self.codec = codec
        self.control = control
        self.commands = commands
        self.health = health
        self.loop = loop
    }

    /// Whether messages published through Redis arrive at this instance, as proved by the canary.
    public var isDelivering: Bool { self.health.isDelivering }

    /// Sends a peer notification to all other instances over their Redis control channel.
    public func notifyPeers(_ notification: PeerNotification) { self.control.notifyPeers(notification) }

    /// The counters of ``BusHealth``; never `nil`.
    public var metrics: BusMetrics? {
        var metrics = BusMetrics()
        metrics.lagSeconds = self.health.lag.map { Double($0) / 1_000 }
        metrics.received = self.health.receivedMessages
        metrics.foreign = self.health.foreignMessages
        metrics.rejected = self.health.rejected
        metrics.foreignUndelivered = self.foreignMonitor.counts
        metrics.foreignApplied = self.applier?.appliedCount ?? 0
        metrics.foreignPending = self.applier?.pendingCount ?? 0
        metrics.appliesForeign = self.applier?.isApplying ?? false
        metrics.replacedConnections = self.health.replacedConnections
        metrics.commands = self.commands.all
        return metrics
    }

    /// Sets the sink: the receiver of all messages and peer notifications.
    public func attach(_ sink: any BusSink) {
        self.sink.withLock { $0 = sink }
        self.control.onNotification { sink.receivedNotification($0) }
        self.loop.execute { self.core.value.sink = sink }
    }

    /// Delivers messages to this instance's own sink, then publishes them on the Redis channels of their flows. Calls
    /// `onAccepted` once Redis has acknowledged every message; never, if one is not acknowledged.
    public func publish(_ messages: [BusMessage], onAccepted: (@Sendable () -> Void)?) {
        guard !messages.isEmpty else {
            onAccepted?()
            return
        }
        self.sink.withLock { $0 }?.received(messages)
        let latch = onAccepted.map { CountdownLatch(of: messages.count, then: $0) }
        var operations: [Operation] = []
        operations.reserveCapacity(messages.count)
        for message in messages {
            let number = self.sequence.add(1, ordering: .relaxed).newValue
            operations.append(
                .publish(
                    channel: BusCore.channel(of: message.flow), message: self.codec.encode(message, sequence: number),
                    onAccepted: latch.map { latch in { @Sendable in latch.countDown() } }))
        }
        self.enqueue(operations)
    }

    /// Subscribes to the Redis channel of a flow.
    public func subscribe(to flow: FlowID) { self.enqueue([.subscribe(flow)]) }
    /// Ends the subscription to the Redis channel of a flow 10 s from now, unless ``subscribe(to:)`` is called before.
    public func unsubscribe(from flow: FlowID) { self.enqueue([.unsubscribe(flow)]) }

    /// Gives the leader lease for foreign updates to another instance.
    public func startDraining() { self.loop.execute { self.core.value.foreign?.lease.startDraining() } }

    /// Waits until the foreign updates that this instance heard and no other one applies are applied; at most 5 s.
    public func finish() async {
        let done = self.loop.makePromise(of: Void.self)
        self.loop.execute {
            if let foreign = self.core.value.foreign { foreign.lease.finish(done) } else { done.succeed() }
        }
        try? await done.futureResult.get()
    }

    /// Enqueues operations. Those of one turn of the event loop run together, in order.
    private func enqueue(_ new: [Operation]) {
        let isFirst = self.operations.withLock { operations in
            operations += new
            return operations.count == new.count
        }
        if isFirst { self.loop.execute { self.runOperations() } }
    }

    /// Runs all enqueued operations. Called on the event loop.
    private func runOperations() {
        let operations = self.operations.withLock { operations in
            defer { operations = [] }
            return operations
        }
        let core = self.core.value
        for operation in operations {
            switch operation {
            case .publish(let channel, let message, let onAccepted):
                core.publish(message, on: channel, onAccepted: onAccepted)
            case .subscribe(let flow): core.subscribe(to: flow)
            case .unsubscribe(let flow): core.unsubscribe(from: flow)
            }
        }
        core.flushSubscriptions()
    }
}

/// Runs a closure after a given number of calls of ``countDown()``.
private final class CountdownLatch: Sendable {
    private let remaining: Atomic<Int>
    private let then: @Sendable () -> Void

    /// - Parameter then: runs at the last of `count` calls of ``countDown()``.
    init(of count: Int, then: @escaping @Sendable () -> Void) {
        self.remaining = Atomic(count)
        self.then = then
    }

    /// Decrements the number of calls that are still missing; at zero, runs the closure.
    func countDown() { if self.remaining.subtract(1, ordering: .acquiringAndReleasing).newValue == 0 { self.then() } }
}

/// State and counters of the bus. Safe to read from any thread.
public final class BusHealth: Sendable {
    private let delivering = Atomic<Bool>(false)
    private let lagMilliseconds = Atomic<Int64>(-1)
    private let rejectedCounts = Mutex<[MessageCodec.RejectReason: Int]>([:])
    private let foreign = Atomic<Int>(0)
    private let received = Atomic<Int>(0)
    private let replaced = Atomic<Int>(0)

    init() {}

    /// Whether published messages arrive at this instance, as proved by the canary.
    public var isDelivering: Bool { self.delivering.load(ordering: .relaxed) }
    /// Milliseconds from publication to arrival of the most recent canary; `nil` before the first one.
    public var lag: Int64? {
        let lag = self.lagMilliseconds.load(ordering: .relaxed)
        return lag < 0 ? nil : lag
    }
    /// Number of rejected messages, by reason.
    public var rejected: [(reason: String, count: Int)] {
        let counts = self.rejectedCounts.withLock { $0 }
        return MessageCodec.RejectReason.allCases.map { ($0.rawValue, counts[$0] ?? 0) }
    }
    /// Number of valid messages that this instance received from processes other than hub instances. While it listens to all
    /// flows, those of all flows, whichever instance applies or delivers them.
    public var foreignMessages: Int { self.foreign.load(ordering: .relaxed) }
    /// Number of messages received on the Redis channels of flows, including echoes and rejected messages.
    public var receivedMessages: Int { self.received.load(ordering: .relaxed) }
    /// Number of subscriber connections that were replaced because no canary arrived.
    public var replacedConnections: Int { self.replaced.load(ordering: .relaxed) }

    /// Sets ``isDelivering``.
    func set(isDelivering: Bool) { self.delivering.store(isDelivering, ordering: .relaxed) }
    /// Sets ``lag``, in milliseconds.
    func set(lag: Int64) { self.lagMilliseconds.store(lag, ordering: .relaxed) }
    /// Counts one rejected message.
    func countRejected(_ reason: MessageCodec.RejectReason) { self.rejectedCounts.withLock { $0[reason, default: 0] += 1 } }
    /// Counts one message of ``foreignMessages``.
    func countForeign() { self.foreign.add(1, ordering: .relaxed) }
    /// Counts one message received on the Redis channel of a flow.
    func countReceived() { self.received.add(1, ordering: .relaxed) }
    /// Counts one subscriber connection that is replaced because no canary arrived.
    func countReplacedConnection() { self.replaced.add(1, ordering: .relaxed) }
}
