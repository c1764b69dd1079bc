import FlowCore
import Logging
import NIOCore

/// Listens to the messages of all flows, and passes foreign updates to the ``ForeignUpdateApplier``, each with the identity of
/// its publication. Confined to one event loop. Exists only under the policy ``ForeignPolicy/apply``.
///
/// Every instance listens and keeps what it hears. The one that holds the leader lease applies it; see ``ForeignLease``. While
/// nobody publishes, none holds the lease, and listening costs no commands.
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

    /// What the listener works with. Both connections belong to the event loop.
    struct Dependencies {
        let applier: ForeignUpdateApplier
        let lease: ForeignLease
        let codec: MessageCodec
        let control: ControlChannel
        let subscriber: RedisLink
        let monitor: ForeignMessageMonitor
        let health: BusHealth
        let now: @Sendable () -> Timestamp
        let logger: Logger
        /// Called when the subscription to all flows is confirmed.
        let onListening: @Sendable () -> Void
    }

    let lease: ForeignLease
    private let dependencies: Dependencies

    private var identity = PublicationIdentity()
    private var subscription = Subscription.none
    /// Whether the server has confirmed the subscription to the Redis channel of marks.
    private var hearsMarks = false
    /// The mark that this instance published last, until it is received; `nil` if none is awaited.
    private var awaitedMark: String?
    /// Number of connections in a row that were lost while ``subscription`` was `requested`.
    private var failures = 0

    init(_ dependencies: Dependencies) {
        self.lease = dependencies.lease
        self.dependencies = dependencies
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

    /// Handles a message of an instance.
    func received(_ signal: ControlChannel.ForeignSignal) {
        switch signal {
        case .mark(let mark): self.received(mark: mark)
        case .leaseFree: self.lease.isFree()
        }
    }

    /// Handles a mark of any instance.
    private func received(mark: String) {
        self.identity.heard(mark: mark)
        if mark == self.awaitedMark { self.awaitedMark = nil }
        guard self.subscription == .none, self.hearsMarks, self.failures < Self.maximumFailures else { return }
        self.subscription = .requested
        self.dependencies.subscriber.send([RESPCommand("PSUBSCRIBE", Self.pattern)])
    }

    /// Called when the server has confirmed the subscription to all flows.
    func subscribed() {
        guard self.subscription == .requested else { return }
        self.subscription = .confirmed
        self.lease.isListening = true
        self.failures = 0
        self.publishMark()
        self.dependencies.onListening()
        self.lease.seek()
    }

    /// Called when the subscriber connection is lost. What this instance has kept stays; another instance, which may still hear
    /// messages, may take the lease.
    func lost() {
        if self.subscription == .requested {
            self.failures += 1
            if self.failures == Self.maximumFailures {
                self.dependencies.logger.error(
                    "Redis does not permit to subscribe to the messages of all flows; not applying foreign updates",
                    metadata: [
                        "pattern": "\(Self.pattern)",
                        "remedy": "permit PSUBSCRIBE on this pattern and restart, or set FLOWHUB_SEED_UPDATES=deliver",
                    ])
            }
        }
        self.subscription = .none
        self.lease.isListening = false
        self.hearsMarks = false
        self.awaitedMark = nil
        self.identity.lost()
        self.lease.giveBack()
    }

    /// Called once per canary interval.
    func tick() {
        self.publishAwaitedMark()
        self.lease.check()
    }

    /// Publishes a mark again that was not received, for example because there was no command connection.
    func publishAwaitedMark() { if self.awaitedMark != nil { self.publishMark() } }

    private func publishMark() {
        let mark = RandomText.hex128()
        self.awaitedMark = mark
        self.dependencies.control.publishMark(mark)
    }

    // MARK: Messages

    /// Handles a message of the subscription to all flows. Ignores those of hub instances: if this instance watches the flow, it
    /// receives the message a second time, through the flow's own subscription, and so it does a foreign event that is no update.
    func received(_ channel: [UInt8], _ payload: [UInt8]) {
        guard !MessageCodec.isOfHub(payload) else { return }
        let name = String(decoding: channel.dropFirst(Self.pattern.utf8.count - 1), as: UTF8.self)
        guard let flow = FlowID(name) else { return self.dependencies.monitor.count(.invalidFlow, flow: name) }
        switch self.dependencies.codec.decode(payload, from: flow, now: self.dependencies.now()) {
        case .own, .echo: break
        case .rejected(let reason): self.dependencies.monitor.count(reason, flow: flow)
        case .foreign(let event):
            self.dependencies.health.countForeign()
            guard event.type == .stateUpdate else { return }
            let digest = String(decoding: self.dependencies.codec.authenticator.mac(for: channel + payload), as: UTF8.self)
            guard let (identity, isMarkDue) = self.identity.heard(digest: digest) else {
                return self.dependencies.monitor.count(.opening, flow: flow.rawValue)
            }
            if isMarkDue { self.publishMark() }
            self.dependencies.applier.heard(ForeignUpdate(flow: flow, patch: event.data, digest: digest, identity: identity))
            self.lease.seek()
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
