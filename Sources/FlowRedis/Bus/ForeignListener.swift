import FlowCore
import Logging
import NIOCore

/// Listens to the messages of all flows, and passes foreign updates to the ``ForeignUpdateApplier``, each with the identity of
/// its publication. Confined to one event loop. Exists only under the policy ``ForeignPolicy/apply``.
///
/// Every instance listens and keeps what it hears. The one that holds the leader lease `hub:apply` applies it; see
/// `ForeignListener+Lease.swift`. While nobody publishes, none holds the lease, and listening costs no commands.
final class ForeignListener {
    private enum Subscription {
        case none
        case requested
        /// Messages of all flows are received.
        case confirmed
    }

    /// The Redis channels of all flows, as a pattern.
    static let pattern = "flow:updates:*"
    /// Number of connections in a row that were lost before the server confirmed the subscription to all flows, after which this
    /// instance does without it: the user may lack the privilege, and Redis answers that with an error.
    private static let maximumFailures = 3

    let applier: ForeignUpdateApplier
    /// Called when the subscription to all flows is confirmed.
    var onListening: () -> Void = {}

    let instance: String
    let control: ControlChannel
    let loop: any EventLoop
    private let codec: MessageCodec
    private let monitor: ForeignMessageMonitor
    private let health: BusHealth
    private let now: @Sendable () -> Timestamp
    private let logger: Logger
    /// The command connection and the subscriber connection. Set once.
    var links: (commands: RedisLink, subscriber: RedisLink)?

    private var identity = PublicationIdentity()
    private var subscription = Subscription.none
    /// Whether the server has confirmed the subscription to the Redis channel of marks.
    private var hearsMarks = false
    /// The mark that this instance published last, until it is received; `nil` if none is awaited.
    private var awaitedMark: String?
    /// Number of connections in a row that were lost while ``subscription`` was `requested`.
    private var failures = 0
    /// See `ForeignListener+Lease.swift`.
    var lease: Lease

    init(
        applier: ForeignUpdateApplier, instance: String, codec: MessageCodec, control: ControlChannel,
        leaseMilliseconds: Int64, monitor: ForeignMessageMonitor, health: BusHealth, loop: any EventLoop,
        now: @escaping @Sendable () -> Timestamp, logger: Logger
    ) {
        self.applier = applier
        self.instance = instance
        self.codec = codec
        self.control = control
        self.monitor = monitor
        self.health = health
        self.loop = loop
        self.now = now
        self.logger = logger
        self.lease = Lease(milliseconds: leaseMilliseconds, holder: "\(instance)/\(RandomText.hex128())")
    }

    /// Whether the messages of all flows are received.
    var isListening: Bool { self.subscription == .confirmed }

    // MARK: The subscriber connection

    /// Called when the server has confirmed the subscription to the Redis channel of marks. Every message that is received needs
    /// a mark before it. So the subscription to all flows follows the first mark, and a second mark follows that, because the
    /// messages in between are missing.
    func hearsMarksNow() {
        self.hearsMarks = true
        self.publishMark()
    }

    /// Handles a mark of any instance.
    func received(mark: String) {
        self.identity.heard(mark: mark)
        if mark == self.awaitedMark { self.awaitedMark = nil }
        guard self.subscription == .none, self.hearsMarks, self.failures < Self.maximumFailures else { return }
        self.subscription = .requested
        self.links?.subscriber.send([RESPCommand("PSUBSCRIBE", Self.pattern)])
    }

    /// Called when the server has confirmed the subscription to all flows.
    func subscribed() {
        guard self.subscription == .requested else { return }
        self.subscription = .confirmed
        self.failures = 0
        self.publishMark()
        self.onListening()
        self.seekLease()
    }

    /// Called when the subscriber connection is lost. What this instance has kept stays; another instance, which may still hear
    /// messages, may take the lease.
    func lost() {
        if self.subscription == .requested {
            self.failures += 1
            if self.failures == Self.maximumFailures {
                self.logger.error(
                    "Redis does not permit to subscribe to the messages of all flows; not applying foreign updates",
                    metadata: [
                        "pattern": "\(Self.pattern)",
                        "remedy": "permit PSUBSCRIBE on this pattern and restart, or set FLOWHUB_SEED_UPDATES=deliver",
                    ])
            }
        }
        self.subscription = .none
        self.hearsMarks = false
        self.awaitedMark = nil
        self.identity.lost()
        self.giveLeaseBack()
    }

    /// Called once per canary interval.
    func tick() {
        self.publishAwaitedMark()
        self.checkLease()
    }

    /// Publishes a mark again that was not received, for example because there was no command connection.
    func publishAwaitedMark() { if self.awaitedMark != nil { self.publishMark() } }

    private func publishMark() {
        let mark = RandomText.hex128()
        self.awaitedMark = mark
        self.control.publishMark(mark)
    }

    // MARK: Messages

    /// Handles a message of the subscription to all flows. Ignores those of hub instances: if this instance watches the flow, it
    /// receives the message a second time, through the flow's own subscription, and so it does a foreign event that is no update.
    func received(_ channel: [UInt8], _ payload: [UInt8]) {
        guard !MessageCodec.isOfHub(payload) else { return }
        let name = String(decoding: channel.dropFirst(Self.pattern.utf8.count - 1), as: UTF8.self)
        guard let flow = FlowID(name) else { return self.monitor.count(.invalidFlow, flow: name) }
        switch self.codec.decode(payload, from: flow, now: self.now()) {
        case .own, .echo: break
        case .rejected(let reason): self.monitor.count(reason, flow: flow)
        case .foreign(let event):
            self.health.countForeign()
            guard event.type == .stateUpdate else { return }
            let digest = String(decoding: self.codec.authenticator.mac(for: channel + payload), as: UTF8.self)
            guard let (identity, isMarkDue) = self.identity.heard(digest: digest) else { return }
            if isMarkDue { self.publishMark() }
            self.applier.heard(ForeignUpdate(flow: flow, patch: event.data, digest: digest, identity: identity))
            self.seekLease()
        }
    }
}

extension ForeignMessageMonitor {
    /// Counts a foreign message that the codec has rejected.
    func count(_ reason: MessageCodec.RejectReason, flow: FlowID) {
        switch reason {
        case .tooLarge: self.count(.tooLarge, flow: flow.rawValue)
        case .malformed: self.count(.malformed, flow: flow.rawValue)
        case .forged: self.count(.forged, flow: flow.rawValue)
        case .otherFlow: self.count(.otherFlow, flow: flow.rawValue)
        case .reservedType: self.count(.reservedType, flow: flow.rawValue)
        // Only hub messages are rejected as late.
        case .late: break
        }
    }
}
