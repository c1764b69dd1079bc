import FlowCore
import Logging
import NIOCore

/// What the bus has on its event loop: subscriptions, the canary, and what comes from both connections.
final class BusCore {
    struct Configuration: Sendable {
        var canaryMilliseconds: Int64 = 1_000
        var canaryTimeoutMilliseconds: Int64 = 3_000
        /// What becomes of messages of the seed's format.
        var foreign = ForeignPolicy.deliver
    }

    /// What applies updates of the seed's format; where it is set, one instance at a time hears all of them.
    var onForeignUpdate: ((_ flow: FlowID, _ updates: JSONText, _ message: [UInt8]) -> Void)?
    private var isLeaseHolder = false

    /// Channels in one SUBSCRIBE.
    private static let batch = 512
    /// Messages that an event loop may be behind before no more are read.
    private static let maximumBacklog = 10_000
    private static let pauseLength = TimeAmount.milliseconds(2)
    private static let prefix = "flow:updates:"
    private static let prefixBytes = Array(BusCore.prefix.utf8)

    static func channel(of flow: FlowID) -> String { Self.prefix + flow.rawValue }

    var sink: (any BusSink)?
    /// Told of every change of ``BusHealth/isDelivering``.
    var onDelivery: (@Sendable (Bool) -> Void)?
    /// What came on a channel of the hub's own.
    var onControl: (([UInt8]) -> Void)?
    /// The commands' connection is there.
    var onCommandsReady: (() -> Void)?
    /// Set once, before anything else.
    private var links: (commands: RedisLink, subscriber: RedisLink)?

    private let instance: String
    private let codec: MessageCodec
    private let configuration: Configuration
    private let health: BusHealth
    private let loop: any EventLoop
    private let logger: Logger
    private let now: @Sendable () -> Timestamp

    private var subscriptions = SubscriptionTracker()
    private var canary: Canary
    /// The hub's own channels that are not confirmed yet.
    private var ownUnconfirmed: Set<String> = []
    private var toSubscribe: [FlowID] = []
    private var inbox: [BusMessage] = []
    private var isPaused = false
    private var timer: RepeatedTask?

    init(
        instance: String, codec: MessageCodec, configuration: Configuration, health: BusHealth, loop: any EventLoop,
        now: @escaping @Sendable () -> Timestamp, logger: Logger
    ) {
        self.instance = instance
        self.codec = codec
        self.configuration = configuration
        self.health = health
        self.loop = loop
        self.now = now
        self.logger = logger
        // Of two in a row one may be late.
        self.canary = Canary(timeout: max(configuration.canaryTimeoutMilliseconds, configuration.canaryMilliseconds * 5 / 2))
    }

    private var canaryChannel: String { "hub:canary:\(self.instance)" }
    private var ownChannels: [String] { [self.canaryChannel, "hub:control:\(self.instance)", "hub:control:all"] }
    /// Milliseconds of a clock that only goes forward.
    private var uptime: Int64 { Int64(NIODeadline.now().uptimeNanoseconds / 1_000_000) }

    func start(commands: RedisLink, subscriber: RedisLink) {
        self.links = (commands, subscriber)
        let core = NIOLoopBound(self, eventLoop: self.loop)
        self.timer = self.loop.scheduleRepeatedTask(
            initialDelay: .zero, delay: .milliseconds(self.configuration.canaryMilliseconds)
        ) { _ in core.value.tick() }
    }

    func stop() {
        self.timer?.cancel()
        // Nobody is told any more: those who would be are about to end, too.
        self.onDelivery = nil
        self.sink = nil
        self.setDelivering(false)
    }

    // MARK: Publishing

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

    func subscribe(to flow: FlowID) {
        switch self.subscriptions.subscribe(flow) {
        case .sendSubscribe: self.toSubscribe.append(flow)
        case .confirmed: self.sink?.subscribed(to: flow)
        // Without a connection there is nothing to wait for: the sweep goes by the second.
        case .pending: if !self.subscriptions.isConnected { self.sink?.subscribed(to: flow) }
        }
    }

    func unsubscribe(from flow: FlowID) { self.subscriptions.unsubscribe(flow, at: self.uptime) }

    func flushSubscriptions() {
        let flows = self.toSubscribe
        self.toSubscribe = []
        self.sendSubscriptionCommand("SUBSCRIBE", flows)
    }

    private func sendSubscriptionCommand(_ name: String, _ flows: [FlowID]) {
        for start in stride(from: 0, to: flows.count, by: Self.batch) {
            var command = RESPCommand(name)
            for flow in flows[start..<min(start + Self.batch, flows.count)] { command.add(Self.channel(of: flow)) }
            self.links?.subscriber.send([command])
        }
    }

    /// The subscribers' connection is there: everything anew.
    func connected() {
        self.isPaused = false
        self.toSubscribe = []
        if self.isLeaseHolder { self.links?.subscriber.send([RESPCommand("PSUBSCRIBE", Self.prefix + "*")]) }
        self.ownUnconfirmed = Set(self.ownChannels)
        var own = RESPCommand("SUBSCRIBE")
        for channel in self.ownChannels { own.add(channel) }
        self.links?.subscriber.send([own])
        self.sendSubscriptionCommand("SUBSCRIBE", self.subscriptions.connected())
    }

    func lost() {
        self.subscriptions.lost()
        self.toSubscribe = []
        self.canary.lost()
        self.setDelivering(false)
    }

    /// A server that was started anew knows no script.
    func commandsReady() {
        self.links?.commands.send(RedisScript.all.map(\.load))
        self.onCommandsReady?()
        if self.canary.hasStarted { self.sendCanary() }
    }

    /// The commands' connection is lost: nothing that is published here reaches anybody.
    func commandsLost() {
        self.canary.sendingFailed()
        self.setDelivering(false)
    }

    // MARK: Updates of other services

    private static let leaseMilliseconds = 10_000

    /// Sees to it that one instance hears everything that is published.
    private func renewLease() {
        guard self.configuration.foreign == .apply else { return }
        var call = RedisScript.lease.call(keys: ["hub:apply"])
        call.add(self.instance)
        call.add(Self.leaseMilliseconds)
        let core = NIOLoopBound(self, eventLoop: self.loop)
        self.links?.commands.send([call]) { result in
            guard case .success(let replies) = result, let acquired = replies.first?.integer else { return }
            core.value.setLeaseHolder(acquired == 1)
        }
    }

    private func setLeaseHolder(_ isHolder: Bool) {
        guard isHolder != self.isLeaseHolder else { return }
        self.isLeaseHolder = isHolder
        self.links?.subscriber.send([RESPCommand(isHolder ? "PSUBSCRIBE" : "PUNSUBSCRIBE", Self.prefix + "*")])
    }

    private func receivedPatternMessage(_ channel: [UInt8], _ payload: [UInt8]) {
        guard channel.starts(with: Self.prefixBytes),
            let flow = FlowID(String(decoding: channel[Self.prefixBytes.count...], as: UTF8.self)),
            case .foreign(let event) = self.codec.decode(payload, from: flow, now: self.now()), event.type == .stateUpdate
        else { return }
        self.health.countForeign()
        self.onForeignUpdate?(flow, event.data, channel + payload)
    }

    private func confirmed(_ channel: String) {
        if channel.hasPrefix(Self.prefix) {
            if let flow = FlowID(channel.dropFirst(Self.prefix.count)), self.subscriptions.confirm(flow) {
                self.sink?.subscribed(to: flow)
            }
        } else {
            self.ownUnconfirmed.remove(channel)
        }
        guard self.ownUnconfirmed.isEmpty, self.subscriptions.isComplete, !self.canary.hasStarted else { return }
        self.canary.started(at: self.uptime)
        self.sendCanary()
    }

    // MARK: The canary

    private func tick() {
        self.sendSubscriptionCommand("UNSUBSCRIBE", self.subscriptions.removeExpired(at: self.uptime))
        switch self.canary.assess(at: self.uptime) {
        case .ok: break
        // Also where what comes is left unread for a while: then it is not the connection that is to blame.
        case .degraded: self.setDelivering(false)
        case .replace where self.isPaused: self.setDelivering(false)
        case .replace:
            self.setDelivering(false)
            self.health.countReplacedConnection()
            self.logger.warning("Redis answers and delivers nothing; the subscribers' connection is made anew")
            self.links?.subscriber.replace()
        }
        if self.canary.hasStarted { self.sendCanary() }
        self.renewLease()
    }

    private func sendCanary() {
        let core = NIOLoopBound(self, eventLoop: self.loop)
        let number = self.canary.next(at: self.uptime)
        var call = RedisScript.canary.call(keys: [self.canaryChannel])
        call.add(self.canaryMAC(number) + Array(String(number).utf8))
        call.add(60_000)
        self.links?.commands.send([call]) { result in
            // A publication that failed proves nothing.
            guard case .success(let replies) = result, replies.first?.integer != nil else { return }
            core.value.canary.accepted(number, at: core.value.uptime)
        }
    }

    private func receivedCanary(_ payload: [UInt8]) {
        guard payload.count > MessageAuthenticator.macLength,
            let number = UInt64(String(decoding: payload[MessageAuthenticator.macLength...], as: UTF8.self)),
            self.canaryMAC(number).elementsEqual(payload.prefix(MessageAuthenticator.macLength))
        else { return }
        if self.canary.received(number, at: self.uptime) { self.setDelivering(true) }
        if let lag = self.canary.lag { self.health.set(lag: lag) }
    }

    /// Of this process: another one may bear its name for a while.
    private func canaryMAC(_ number: UInt64) -> [UInt8] {
        self.codec.authenticator.mac(for: Array("\(self.codec.origin) \(number)".utf8))
    }

    private func setDelivering(_ isDelivering: Bool) {
        guard self.health.isDelivering != isDelivering else { return }
        self.health.set(isDelivering: isDelivering)
        self.onDelivery?(isDelivering)
        // What was missed meanwhile.
        if isDelivering { self.sink?.deliveryChanged() }
    }

    // MARK: What comes

    func receivedPush(_ value: RESPValue) {
        if let elements = value.elements, elements.count == 4, let channel = elements[2].bytes, let payload = elements[3].bytes {
            return self.receivedPatternMessage(channel, payload)
        }
        guard let elements = value.elements, elements.count == 3, let kind = elements[0].bytes, let channel = elements[1].bytes
        else { return }
        if kind.count == 7, let payload = elements[2].bytes {
            self.receivedMessage(channel, payload)
        } else if kind == Self.subscribeKind {
            self.confirmed(String(decoding: channel, as: UTF8.self))
        }
    }

    private static let subscribeKind = Array("subscribe".utf8)

    private func receivedMessage(_ channel: [UInt8], _ payload: [UInt8]) {
        guard channel.starts(with: Self.prefixBytes) else {
            let name = String(decoding: channel, as: UTF8.self)
            if name == self.canaryChannel { self.receivedCanary(payload) } else { self.onControl?(payload) }
            return
        }
        guard let flow = FlowID(String(decoding: channel[Self.prefixBytes.count...], as: UTF8.self)) else { return }
        self.health.countReceived()
        switch self.codec.decode(payload, from: flow, now: self.now()) {
        case .own(let message): self.enqueue(message)
        // Delivered when it was published.
        case .echo: break
        case .foreign(let event):
            switch self.configuration.foreign {
            case .ignore: return
            // Comes back as a durable event of the hub.
            case .apply where event.type == .stateUpdate: return
            case .apply, .deliver: self.health.countForeign()
            }
            self.enqueue(BusMessage(flow: flow, account: "", epoch: self.epoch(), content: .foreign(event)))
        case .rejected(let reason): self.health.countRejected(reason)
        }
    }

    /// The epoch that foreign messages are taken under: whatever the hub works under.
    var epoch: () -> Epoch = { Epoch(counter: 0, random: "0") }

    /// What comes in one turn of the loop is handed over together.
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

    /// The event loops do not keep up: what comes waits at the server, which has a limit of its own.
    private func pause() {
        self.isPaused = true
        self.links?.subscriber.setReading(false)
        self.loop.assumeIsolated().scheduleTask(in: Self.pauseLength) { self.checkBacklog() }
    }

    private func checkBacklog() {
        guard self.isPaused else { return }
        if let backlog = self.sink?.backlog, backlog > Self.maximumBacklog / 2 {
            self.loop.assumeIsolated().scheduleTask(in: Self.pauseLength) { self.checkBacklog() }
        } else {
            self.isPaused = false
            self.canary.readingResumed(at: self.uptime)
            self.links?.subscriber.setReading(true)
        }
    }
}

/// What becomes of messages that services beside the hub publish in the seed's format.
public enum ForeignPolicy: String, Hashable, Sendable, CaseIterable {
    /// They go live, marked as foreign.
    case deliver
    /// Updates become changes of the flows' states; the rest goes live.
    case apply
    case ignore
}
