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

    /// Listens to foreign updates under the policy ``ForeignPolicy/apply``. Set before ``start(commands:subscriber:)``.
    var foreign: ForeignListener?
    /// Counts the foreign messages that are not delivered.
    private let foreignMonitor: ForeignMessageMonitor

    /// Maximum number of Redis channels in one SUBSCRIBE or UNSUBSCRIBE command.
    private static let batch = 512
    /// Maximum number of messages that the sink has received and not processed yet. Above it, reading from the
    /// subscriber connection pauses; at half of it, reading resumes.
    private static let maximumBacklog = 10_000
    /// Time between two checks of the sink's unprocessed messages while reading is paused.
    private static let pauseLength = TimeAmount.milliseconds(2)
    /// Prefix of the Redis channels of flows.
    private static let prefix = "flow:updates:"
    private static let prefixBytes = Array(BusCore.prefix.utf8)

    /// The Redis channel with a flow's messages.
    static func channel(of flow: FlowID) -> String { Self.prefix + flow.rawValue }

    /// The sink: the receiver of the messages of all flows. `nil` before ``RedisBus/attach(_:)`` and after ``stop()``.
    var sink: (any BusSink)?
    /// Called on the event loop after each change of ``BusHealth/isDelivering``, until ``stop()``.
    var onDelivery: (@Sendable (Bool) -> Void)?
    /// Receives the messages of `hub:control:{instance}` and `hub:control:all`.
    var onControl: (([UInt8]) -> Void)?
    /// Called when the command connection is ready, and when Redis reports that it does not have a Lua script.
    var onCommandsReady: (() -> Void)?
    /// The command connection and the subscriber connection. Set once, by ``start(commands:subscriber:)``.
    private var links: (commands: RedisLink, subscriber: RedisLink)?

    private let instance: String
    private let codec: MessageCodec
    private let configuration: Configuration
    private let health: BusHealth
    private let loop: any EventLoop
    private let logger: Logger
    private let now: @Sendable () -> Timestamp
    private let pace: RedisPace

    private var subscriptions = SubscriptionTracker()
    private let canary: CanaryPublisher
    /// Those of ``ownChannels`` to which the server has not confirmed the subscription yet.
    private var ownUnconfirmed: Set<String> = []
    /// Flows whose SUBSCRIBE is sent by the next ``flushSubscriptions()``.
    private var toSubscribe: [FlowID] = []
    /// Messages received in this turn of the event loop, which the sink receives together.
    private var inbox: [BusMessage] = []
    /// Whether reading from the subscriber connection is paused, because the sink has more than ``maximumBacklog``
    /// unprocessed messages.
    private var isPaused = false
    private var timer: RepeatedTask?

    init(
        instance: String, codec: MessageCodec, configuration: Configuration, health: BusHealth,
        foreignMonitor: ForeignMessageMonitor, loop: any EventLoop, pace: RedisPace, now: @escaping @Sendable () -> Timestamp,
        logger: Logger
    ) {
        self.instance = instance
        self.codec = codec
        self.configuration = configuration
        self.health = health
        self.foreignMonitor = foreignMonitor
        self.loop = loop
        self.now = now
        self.logger = logger
        self.pace = pace
        self.canary = CanaryPublisher(
            instance: instance, codec: codec, interval: configuration.canaryMilliseconds,
            timeout: configuration.canaryTimeoutMilliseconds, pace: pace, loop: loop)
    }

    /// The Redis channel with control messages to all instances.
    private static let controlChannel = "hub:control:all"
    /// The Redis channels with this instance's canaries, with control messages to this instance, and with those to all
    /// instances.
    private var ownChannels: [String] { [self.canary.channel, "hub:control:\(self.instance)", Self.controlChannel] }
    /// Monotonic time in milliseconds.
    private var uptime: Int64 { Int64(NIODeadline.now().uptimeNanoseconds / 1_000_000) }

    /// Sets the two connections, and starts the timer that runs ``tick()`` once per canary interval.
    func start(commands: RedisLink, subscriber: RedisLink) {
        self.links = (commands, subscriber)
        self.canary.commands = commands
        self.foreign?.links = (commands, subscriber)
        let core = NIOLoopBound(self, eventLoop: self.loop)
        self.timer = self.loop.scheduleRepeatedTask(
            initialDelay: .zero, delay: .milliseconds(self.configuration.canaryMilliseconds)
        ) { _ in core.value.tick() }
    }

    /// Stops the timer, and calls neither the sink nor ``onDelivery`` any more. From then on delivery counts as
    /// degraded.
    func stop() {
        self.timer?.cancel()
        // Removed before delivery changes: the sink and the receiver of `onDelivery` are being stopped as well.
        self.onDelivery = nil
        self.sink = nil
        self.setDelivering(false)
    }

    // MARK: Publishing

    /// Publishes messages on a Redis channel.
    /// - Parameter onAccepted: called if Redis has acknowledged all messages.
    func publish(_ messages: [[UInt8]], on channel: String, onAccepted: (@Sendable () -> Void)?) {
        let commands = messages.map { message in
            var command = RESPCommand("PUBLISH", channel)
            command.add(message)
            return command
        }
        self.links?.commands.send(commands) { result in
            guard case .success(let replies) = result, replies.allSatisfy({ $0.integer != nil }) else { return }
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
            self.links?.subscriber.send([command])
        }
    }

    /// Called when the subscriber connection is ready. Subscribes to all Redis channels again.
    func connected() {
        self.isPaused = false
        self.toSubscribe = []
        self.ownUnconfirmed = Set(self.ownChannels)
        var own = RESPCommand("SUBSCRIBE")
        for channel in self.ownChannels { own.add(channel) }
        self.links?.subscriber.send([own])
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
        self.links?.commands.send(RedisScript.all.map(\.load))
        self.onCommandsReady?()
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
        case .replace where self.isPaused: self.setDelivering(false)
        case .replace:
            self.setDelivering(false)
            self.health.countReplacedConnection()
            self.logger.warning("No canary received; replacing the Redis subscriber connection")
            self.links?.subscriber.replace()
        }
        self.canary.sendIfDue()
        self.foreign?.tick()
    }

    /// Makes the instance idle while it watches no flow and messages arrive, and active at once when it watches one.
    private func updatePace() {
        let isIdle = self.subscriptions.count == 0 && self.health.isDelivering
        if self.pace.set(isIdle: isIdle) { self.canary.paceChanged() }
    }

    /// Handles a received canary. The first one after an outage ends the degraded delivery.
    private func receivedCanary(_ payload: [UInt8]) {
        if self.canary.received(payload) { self.setDelivering(true) }
        if let lag = self.canary.lag { self.health.set(lag: lag) }
    }

    /// Sets ``BusHealth/isDelivering``, and calls ``onDelivery`` if its value has changed.
    private func setDelivering(_ isDelivering: Bool) {
        guard self.health.isDelivering != isDelivering else { return }
        self.health.set(isDelivering: isDelivering)
        self.onDelivery?(isDelivering)
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
        // `message` is the only kind with seven bytes.
        if kind.count == 7, let payload = elements[2].bytes {
            self.receivedMessage(channel, payload)
        } else if kind == Self.subscribeKind {
            self.confirmed(String(decoding: channel, as: UTF8.self))
        } else if kind == Self.patternSubscribeKind {
            self.foreign?.subscribed()
        }
    }

    private static let subscribeKind = Array("subscribe".utf8)
    private static let patternSubscribeKind = Array("psubscribe".utf8)

    /// Handles a message of a Redis channel: a canary, a message between instances (see ``ControlChannel``), or a
    /// message of a flow.
    private func receivedMessage(_ channel: [UInt8], _ payload: [UInt8]) {
        guard channel.starts(with: Self.prefixBytes) else {
            let name = String(decoding: channel, as: UTF8.self)
            if name == self.canary.channel { self.receivedCanary(payload) } else { self.onControl?(payload) }
            return
        }
        guard let flow = FlowID(String(decoding: channel[Self.prefixBytes.count...], as: UTF8.self)) else { return }
        self.health.countReceived()
        switch self.codec.decode(payload, from: flow, now: self.now()) {
        case .own(let message): self.enqueue(message)
        // This instance delivered the message to its own sink when it published it.
        case .echo: break
        case .foreign(let event): self.receivedForeign(event, of: flow)
        case .rejected(let reason):
            self.health.countRejected(reason)
            // While this instance listens to all flows, the listener counts those that do not begin as hub messages do.
            if self.foreign?.isListening != true || MessageCodec.isOfHub(payload) {
                self.foreignMonitor.count(reason, flow: flow)
            }
        }
    }

    /// Delivers a foreign event to the subscribers of its flow, unless it will be committed as a change: then the durable event
    /// of that change is delivered.
    private func receivedForeign(_ event: TransientEvent, of flow: FlowID) {
        if self.configuration.foreign == .ignore { return self.foreignMonitor.count(.ignored, flow: flow.rawValue) }
        if self.foreign?.isListening == true {
            if event.type == .stateUpdate { return }
        } else {
            self.health.countForeign()
        }
        self.enqueue(
            BusMessage(
                flow: flow, account: self.configuration.foreignAccount, epoch: self.epoch(), content: .foreign(event)))
    }

    /// Supplies the epoch under which foreign messages are delivered: the epoch that this instance has adopted.
    var epoch: () -> Epoch = { Epoch(counter: 0, random: "0") }

    /// Collects the messages that arrive in one turn of the event loop, and passes them to the sink in one call.
    private func enqueue(_ message: BusMessage) {
        self.inbox.append(message)
        guard self.inbox.count == 1 else { return }
        self.loop.assumeIsolated().execute {
            let messages = self.inbox
            self.inbox = []
            self.sink?.received(messages)
            if !self.isPaused, let backlog = self.sink?.backlog, backlog > Self.maximumBacklog { self.pause() }
        }
    }

    /// Pauses reading, because the sink has more than ``maximumBacklog`` unprocessed messages. New messages then queue
    /// at Redis, which closes the connection if they exceed the output buffer limit of Redis.
    private func pause() {
        self.isPaused = true
        self.links?.subscriber.setReading(false)
        self.loop.assumeIsolated().scheduleTask(in: Self.pauseLength) { self.checkBacklog() }
    }

    /// Resumes reading if the sink has at most half of ``maximumBacklog`` unprocessed messages; otherwise checks again
    /// after 2 ms.
    private func checkBacklog() {
        guard self.isPaused else { return }
        if let backlog = self.sink?.backlog, backlog > Self.maximumBacklog / 2 {
            self.loop.assumeIsolated().scheduleTask(in: Self.pauseLength) { self.checkBacklog() }
        } else {
            self.isPaused = false
            self.canary.readingResumed()
            self.links?.subscriber.setReading(true)
        }
    }
}
