import FlowCore
import Logging
import NIOCore

/// State of the bus: subscriptions to Redis channels, the canary, and the messages of both Redis connections.
/// Confined to one event loop.
final class BusCore {
    struct Configuration: Sendable {
        /// Milliseconds between two canaries.
        var canaryMilliseconds: Int64 = 1_000
        /// Milliseconds without a received canary until delivery counts as degraded.
        var canaryTimeoutMilliseconds: Int64 = 3_000
        /// Policy for foreign messages (`FLOWHUB_SEED_UPDATES`).
        var foreign = ForeignPolicy.deliver
        /// Account whose subscribers receive foreign messages; empty: the account that owns the flow.
        var foreignAccount = ""
    }

    /// What the bus works with. Both connections belong to its event loop.
    struct Dependencies {
        let commands: RedisLink
        let subscriber: RedisLink
        let codec: MessageCodec
        let control: ControlChannel
        /// Listens to foreign updates under the policy ``ForeignPolicy/apply``; else `nil`.
        let foreign: ForeignListener?
        /// Counts the foreign messages that are not delivered.
        let foreignMonitor: ForeignMessageMonitor
        let health: BusHealth
        let pace: RedisPace
        /// Supplies the epoch under which foreign messages are delivered: the epoch that this instance has adopted.
        let epoch: @Sendable () -> Epoch
        let now: @Sendable () -> Timestamp
        let logger: Logger
        /// Called when the command connection is ready, and when Redis reports that it does not have a Lua script.
        let onCommandsReady: @Sendable () -> Void
        /// Called after each change of ``BusHealth/isDelivering``, until ``BusCore/stop()``.
        let onDelivery: @Sendable (Bool) -> Void
    }

    /// Maximum number of Redis channels in one SUBSCRIBE or UNSUBSCRIBE command.
    private static let batch = 512
    /// Prefix of the Redis channels of flows.
    private static let prefix = "flow:updates:"
    private static let prefixBytes = Array(BusCore.prefix.utf8)

    /// The Redis channel with a flow's messages.
    static func channel(of flow: FlowID) -> String { Self.prefix + flow.rawValue }

    /// The sink: the receiver of the messages of all flows. `nil` before ``RedisBus/attach(_:)`` and after ``stop()``.
    var sink: (any BusSink)? {
        get { self.inbox.sink }
        set { self.inbox.sink = newValue }
    }
    var foreign: ForeignListener? { self.dependencies.foreign }

    private let instance: String
    private let configuration: Configuration
    private let dependencies: Dependencies
    private let loop: any EventLoop
    private var subscriptions = SubscriptionTracker()
    private let canary: CanaryPublisher
    private let inbox: BusInbox
    /// Those of ``ownChannels`` to which the server has not confirmed the subscription yet.
    private var ownUnconfirmed: Set<String> = []
    /// Flows whose SUBSCRIBE is sent by the next ``flushSubscriptions()``.
    private var toSubscribe: [FlowID] = []
    private var isStopped = false
    private var timer: RepeatedTask?

    init(instance: String, configuration: Configuration, dependencies: Dependencies, loop: any EventLoop) {
        self.instance = instance
        self.configuration = configuration
        self.dependencies = dependencies
        self.loop = loop
        self.canary = CanaryPublisher(
            instance: instance, codec: dependencies.codec, interval: configuration.canaryMilliseconds,
            timeout: configuration.canaryTimeoutMilliseconds, commands: dependencies.commands, pace: dependencies.pace,
            loop: loop)
        self.inbox = BusInbox(subscriber: dependencies.subscriber, canary: self.canary, loop: loop)
    }

    /// The Redis channel with control messages to all instances.
    private static let controlChannel = "hub:control:all"
    /// The Redis channels with this instance's canaries, with control messages to this instance, and with those to all
    /// instances.
    private var ownChannels: [String] { [self.canary.channel, "hub:control:\(self.instance)", Self.controlChannel] }
    /// Monotonic time in milliseconds.
    private var uptime: Int64 { Int64(NIODeadline.now().uptimeNanoseconds / 1_000_000) }

    /// Starts the timer that runs ``tick()`` once per canary interval.
    func start() {
        let core = NIOLoopBound(self, eventLoop: self.loop)
        self.timer = self.loop.scheduleRepeatedTask(
            initialDelay: .zero, delay: .milliseconds(self.configuration.canaryMilliseconds)
        ) { _ in core.value.tick() }
    }

    /// Stops the timer, and calls neither the sink nor ``Dependencies/onDelivery`` any more. From then on delivery counts as
    /// degraded.
    func stop() {
        self.timer?.cancel()
        // Before delivery changes: the sink and the receiver of `onDelivery` are being stopped as well.
        self.isStopped = true
        self.sink = nil
        self.setDelivering(false)
    }

    // MARK: Publishing

    /// Publishes a message on a Redis channel.
    /// - Parameter onAccepted: called if Redis has acknowledged it.
    func publish(_ message: [UInt8], on channel: String, onAccepted: (@Sendable () -> Void)?) {
        var command = RESPCommand("PUBLISH", channel)
        command.add(message)
        self.dependencies.commands.send([command]) { result in
            guard case .success(let replies) = result, replies.first?.integer != nil else { return }
            onAccepted?()
        }
    }

    // MARK: Subscriptions

    /// Subscribes to the Redis channel of a flow. ``flushSubscriptions()`` must follow.
    func subscribe(to flow: FlowID) {
        defer { self.updatePace() }
        switch self.subscriptions.subscribe(flow) {
        case .sendSubscribe: self.toSubscribe.append(flow)
        case .confirmed: self.sink?.subscribed(to: flow)
        // Without a subscriber connection, no confirmation can arrive, so the sink need not wait for one. No durable
        // event is lost: while delivery is degraded, the version sweep runs every second.
        case .pending: if !self.subscriptions.isConnected { self.sink?.subscribed(to: flow) }
        }
    }

    /// Ends the subscription to the Redis channel of a flow 10 s from now, unless ``subscribe(to:)`` is called before.
    func unsubscribe(from flow: FlowID) { self.subscriptions.unsubscribe(flow, at: self.uptime) }

    /// Sends SUBSCRIBE for the flows that were passed to ``subscribe(to:)`` since the previous call.
    func flushSubscriptions() {
        let flows = self.toSubscribe
        self.toSubscribe = []
        self.sendSubscriptionCommand("SUBSCRIBE", flows)
    }

    /// Sends SUBSCRIBE or UNSUBSCRIBE for the Redis channels of flows, in commands of up to 512 channels.
    private func sendSubscriptionCommand(_ name: String, _ flows: [FlowID]) {
        for start in stride(from: 0, to: flows.count, by: Self.batch) {
            var command = RESPCommand(name)
            for flow in flows[start..<min(start + Self.batch, flows.count)] { command.add(Self.channel(of: flow)) }
            self.dependencies.subscriber.send([command])
        }
    }

    /// Called when the subscriber connection is ready. Subscribes to all Redis channels again.
    func connected() {
        self.inbox.connected()
        self.toSubscribe = []
        self.ownUnconfirmed = Set(self.ownChannels)
        var own = RESPCommand("SUBSCRIBE")
        for channel in self.ownChannels { own.add(channel) }
        self.dependencies.subscriber.send([own])
        self.sendSubscriptionCommand("SUBSCRIBE", self.subscriptions.connected())
    }

    /// Called when the subscriber connection is lost. Delivery counts as degraded until a canary arrives again.
    func lost() {
        self.subscriptions.lost()
        self.toSubscribe = []
        self.canary.lost()
        self.foreign?.lost()
        self.setDelivering(false)
    }

    /// Called when the command connection is ready, and when Redis does not have a script. Loads all scripts, since a
    /// restarted server has none.
    func commandsReady() {
        self.dependencies.commands.send(RedisScript.all.map(\.load))
        self.dependencies.onCommandsReady()
        self.foreign?.publishAwaitedMark()
        if self.canary.hasStarted { self.canary.send() }
    }

    /// Called when the command connection is lost. Delivery counts as degraded, because this instance cannot publish.
    func commandsLost() {
        self.canary.sendingFailed()
        self.setDelivering(false)
    }

    /// Handles the server's confirmation of a subscription to a Redis channel. After the last outstanding confirmation,
    /// sends the first canary.
    private func confirmed(_ channel: String) {
        if channel.hasPrefix(Self.prefix) {
            if let flow = FlowID(channel.dropFirst(Self.prefix.count)), self.subscriptions.confirm(flow) {
                self.sink?.subscribed(to: flow)
            }
        } else {
            self.ownUnconfirmed.remove(channel)
            if channel == Self.controlChannel { self.foreign?.hearsMarksNow() }
        }
        guard self.ownUnconfirmed.isEmpty, self.subscriptions.isComplete, !self.canary.hasStarted else { return }
        self.canary.start()
    }

    // MARK: Canary

    /// Runs once per canary interval: ends the subscriptions of flows whose watch ended 10 s ago, assesses delivery,
    /// and sends a canary.
    private func tick() {
        self.sendSubscriptionCommand("UNSUBSCRIBE", self.subscriptions.removeExpired(at: self.uptime))
        self.updatePace()
        switch self.canary.assess() {
        case .ok: break
        case .degraded: self.setDelivering(false)
        // While reading is paused, no canary can be received: the connection is not at fault and stays.
        case .replace where self.inbox.isPaused: self.setDelivering(false)
        case .replace:
            self.setDelivering(false)
            self.dependencies.health.countReplacedConnection()
            self.dependencies.logger.warning("No canary received; replacing the Redis subscriber connection")
            self.dependencies.subscriber.replace()
        }
        self.canary.sendIfDue()
        self.foreign?.tick()
    }

    /// Makes the instance idle while it watches no flow and messages arrive, and active at once when it watches one.
    private func updatePace() {
        let isIdle = self.subscriptions.count == 0 && self.dependencies.health.isDelivering
        if self.dependencies.pace.set(isIdle: isIdle) { self.canary.paceChanged() }
    }

    /// Handles a received canary. The first one after an outage ends the degraded delivery.
    private func receivedCanary(_ payload: [UInt8]) {
        if self.canary.received(payload) { self.setDelivering(true) }
        if let lag = self.canary.lag { self.dependencies.health.set(lag: lag) }
    }

    /// Sets ``BusHealth/isDelivering``, and calls ``onDelivery`` if its value has changed.
    private func setDelivering(_ isDelivering: Bool) {
        guard self.dependencies.health.isDelivering != isDelivering else { return }
        self.dependencies.health.set(isDelivering: isDelivering)
        if !self.isStopped { self.dependencies.onDelivery(isDelivering) }
        // The sink then reads from the store the events that it missed during the outage.
        if isDelivering { self.sink?.deliveryChanged() }
    }

    // MARK: Received messages

    /// Handles a value that the subscriber connection received. It has four elements if it is a message of the
    /// subscription to all flows; otherwise three, whose first one is `message`, or the kind of a confirmation.
    func receivedPush(_ value: RESPValue) {
        if let elements = value.elements, elements.count == 4, let channel = elements[2].bytes, let payload = elements[3].bytes {
            self.foreign?.received(channel, payload)
            return
        }
        guard let elements = value.elements, elements.count == 3, let kind = elements[0].bytes, let channel = elements[1].bytes
        else { return }
        if kind == Self.messageKind, let payload = elements[2].bytes {
            self.receivedMessage(channel, payload)
        } else if kind == Self.subscribeKind {
            self.confirmed(String(decoding: channel, as: UTF8.self))
        } else if kind == Self.patternSubscribeKind {
            self.foreign?.subscribed()
        }
    }

    private static let messageKind = Array("message".utf8)
    private static let subscribeKind = Array("subscribe".utf8)
    private static let patternSubscribeKind = Array("psubscribe".utf8)

    /// Handles a message of a Redis channel: a canary, a message between instances (see ``ControlChannel``), or a
    /// message of a flow.
    private func receivedMessage(_ channel: [UInt8], _ payload: [UInt8]) {
        guard channel.starts(with: Self.prefixBytes) else {
            let name = String(decoding: channel, as: UTF8.self)
            if name == self.canary.channel { return self.receivedCanary(payload) }
            if let signal = self.dependencies.control.received(payload) { self.foreign?.received(signal) }
            return
        }
        guard let flow = FlowID(String(decoding: channel[Self.prefixBytes.count...], as: UTF8.self)) else { return }
        self.dependencies.health.countReceived()
        switch self.dependencies.codec.decode(payload, from: flow, now: self.dependencies.now()) {
        case .own(let message): self.inbox.add(message)
        // This instance delivered the message to its own sink when it published it.
        case .echo: break
        case .foreign(let event): self.receivedForeign(event, of: flow)
        case .rejected(let reason):
            self.dependencies.health.countRejected(reason)
            // While this instance listens to all flows, the listener counts those that do not begin as hub messages do.
            if self.foreign?.isListening != true || MessageCodec.isOfHub(payload) {
                self.dependencies.foreignMonitor.count(reason, flow: flow)
            }
        }
    }

    /// Delivers a foreign event to the subscribers of its flow, unless it will be committed as a change: then the durable event
    /// of that change is delivered.
    private func receivedForeign(_ event: TransientEvent, of flow: FlowID) {
        if self.configuration.foreign == .ignore { return self.dependencies.foreignMonitor.count(.ignored, flow: flow.rawValue) }
        if self.foreign?.isListening == true {
            if event.type == .stateUpdate { return }
        } else {
            self.dependencies.health.countForeign()
        }
        self.inbox.add(
            BusMessage(
                flow: flow, account: self.configuration.foreignAccount, epoch: self.dependencies.epoch(),
                content: .foreign(event)))
    }
}
