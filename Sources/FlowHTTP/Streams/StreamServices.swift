public import FlowCore
import Logging
import NIOCore
import Synchronization

/// The services and counters that the event loops share. Safe to use from any thread.
final class StreamServices: Sendable {
    /// Numbers of streams, and of the flows of those with several flows.
    private struct Share {
        var streams = 0
        var flows = 0
    }

    private struct Admitted {
        var total = Share()
        /// By account and subject.
        var subjects: [String: Share] = [:]
    }

    let instance: String
    let configuration: StreamConfiguration
    let manager: StateManager
    let table: WatchTable
    let registry: any ConnectionRegistry
    let health: HubHealth
    /// Seconds after the `exp` of its token at which a stream is closed.
    let leewaySeconds: Int64
    let now: @Sendable () -> Timestamp
    let logger: Logger

    let queuedBytesBudget = QueuedBytesBudget()
    private let nextNumber = Atomic<UInt64>(0)
    private let draining = Atomic<Bool>(false)
    /// Number of new streams that were closed instead of opened because of a limit, by reason.
    private let refusals = Mutex<[ClosingReason: Int]>([:])
    /// The admitted streams.
    private let admitted = Mutex(Admitted())

    private let work: AsyncStream<@Sendable () async -> Void>.Continuation
    private let registryChangeContinuation: AsyncStream<[RegistryChange]>.Continuation
    private let feedMembershipContinuation: AsyncStream<FeedMembershipChange>.Continuation

    init(
        instance: String, configuration: StreamConfiguration, manager: StateManager, table: WatchTable,
        registry: any ConnectionRegistry, health: HubHealth, leewaySeconds: Int64, now: @escaping @Sendable () -> Timestamp,
        logger: Logger, work: AsyncStream<@Sendable () async -> Void>.Continuation,
        registryChangeContinuation: AsyncStream<[RegistryChange]>.Continuation,
        feedMembershipContinuation: AsyncStream<FeedMembershipChange>.Continuation
    ) {
        self.instance = instance
        self.configuration = configuration
        self.manager = manager
        self.table = table
        self.registry = registry
        self.health = health
        self.leewaySeconds = leewaySeconds
        self.now = now
        self.logger = logger
        self.work = work
        self.registryChangeContinuation = registryChangeContinuation
        self.feedMembershipContinuation = feedMembershipContinuation
    }

    /// Starts an asynchronous operation in a task of its own, outside the event loops. Does not wait for it.
    func perform(_ body: @escaping @Sendable () async -> Void) { self.work.yield(body) }
    /// Queues changes of the connection registry, which are applied in their order.
    func registryChanged(_ changes: [RegistryChange]) { self.registryChangeContinuation.yield(changes) }
    /// Queues the opening or closing of a feed for the ``FeedPoller``.
    func feedMembershipChanged(_ change: FeedMembershipChange) { self.feedMembershipContinuation.yield(change) }

    /// Maximum bytes of the states and encoded snapshots that the fan-outs of one event loop keep.
    var snapshotBytesPerLoop: Int { self.configuration.maximumSnapshotBytes / max(1, self.configuration.eventLoops) }

    // MARK: Admission

    /// Number of streams that ``admit(_:_:)`` has counted, over all event loops.
    var streamCount: Int { self.admitted.withLock { $0.total.streams } }
    /// Number of flows of the streams with several flows, over all event loops.
    var streamFlowCount: Int { self.admitted.withLock { $0.total.flows } }
    var isDraining: Bool { self.draining.load(ordering: .relaxed) }
    /// From now on new streams are closed immediately, with the reason `drain`.
    func startDraining() { self.draining.store(true, ordering: .relaxed) }

    /// Counts a new stream and its flows, unless a limit of the instance or of the subject is reached.
    /// - Returns: the number of the stream; `nil` if a limit is reached.
    func admit(_ principal: Principal, _ request: StreamRequest) -> UInt64? {
        let flows = Self.countedFlows(request.flows)
        let configuration = self.configuration
        let fits = self.admitted.withLock { admitted in
            guard admitted.total.streams < configuration.maximumConnections,
                admitted.total.flows + flows <= configuration.maximumStreamFlows
            else { return false }
            if let subject = Self.subject(principal) {
                let share = admitted.subjects[subject] ?? Share()
                guard share.streams < configuration.maximumConnectionsPerSubject,
                    share.flows + flows <= configuration.maximumFlowsPerSubject
                else { return false }
                admitted.subjects[subject] = Share(streams: share.streams + 1, flows: share.flows + flows)
            }
            admitted.total.streams += 1
            admitted.total.flows += flows
            return true
        }
        guard fits else {
            self.countRefusal(.full)
            return nil
        }
        return self.nextNumber.add(1, ordering: .relaxed).newValue
    }

    /// Subtracts a closed stream and its flows from the numbers to which ``admit(_:_:)`` has added them.
    func release(_ principal: Principal, flows: [FlowID]) {
        let flows = Self.countedFlows(flows)
        self.admitted.withLock { admitted in
            admitted.total.streams -= 1
            admitted.total.flows -= flows
            guard let subject = Self.subject(principal), let share = admitted.subjects[subject] else { return }
            admitted.subjects[subject] =
                share.streams > 1 ? Share(streams: share.streams - 1, flows: share.flows - flows) : nil
        }
    }

    /// Number of flows that a stream adds to the numbers of flows. A stream of one flow is limited as a stream only.
    private static func countedFlows(_ flows: [FlowID]) -> Int { flows.count > 1 ? flows.count : 0 }

    /// The key of a principal's numbers; `nil` on a hub without keys, where all clients have the same principal.
    private static func subject(_ principal: Principal) -> String? {
        principal.isOpen ? nil : "\(principal.account) \(principal.subject)"
    }

    /// Counts a new stream that is closed instead of opened because of a limit.
    func countRefusal(_ reason: ClosingReason) { self.refusals.withLock { $0[reason, default: 0] += 1 } }
    /// Number of streams counted by ``countRefusal(_:)``, by reason.
    var refusalCounts: [ClosingReason: Int] { self.refusals.withLock { $0 } }
}

/// A change of the connection registry, with one entry for each flow of a stream.
enum RegistryChange: Sendable {
    /// The stream has started.
    case register([ConnectionEntry])
    /// The stream has ended.
    case unregister([ConnectionEntry])
}

/// The opening or closing of a feed.
enum FeedMembershipChange: Sendable {
    /// A feed of the account was opened. Its first list was read at `since` and has these flows with these versions.
    case joined(account: String, since: Timestamp, versions: [FlowID: Version])
    /// A feed of the account was closed.
    case left(account: String)
}

/// The limits and intervals of event streams.
public struct StreamConfiguration: Sendable {
    /// `FLOWHUB_HEARTBEAT_SECONDS`: interval of heartbeats on a stream.
    public var heartbeatSeconds = 15
    /// `FLOWHUB_RETRY_MS`: average of the SSE `retry:`, the time that clients wait before they reconnect.
    public var retryMilliseconds = 2_000
    /// `FLOWHUB_LINGER_MS`: how long the streams of a terminal flow stay open for late events.
    public var lingerMilliseconds: Int64 = 10_000
    /// `FLOWHUB_OPEN_SECONDS`: timeout for opening a stream, which includes reading its flows from the store.
    public var openSeconds = 5
    /// `FLOWHUB_MAX_CONNECTIONS`: maximum number of event streams of this instance.
    public var maximumConnections = 10_000
    /// `FLOWHUB_MAX_CONNECTIONS_PER_SUBJECT`: maximum number of event streams of one subject of an account. Not applied to a
    /// hub without keys.
    public var maximumConnectionsPerSubject = 100
    /// `FLOWHUB_MAX_QUEUED_BYTES`: maximum queued bytes of all streams.
    public var maximumQueuedBytes = 268_435_456
    /// `FLOWHUB_MAX_SNAPSHOT_BYTES`: maximum bytes of the states and encoded snapshots that event loops keep for new subscribers.
    public var maximumSnapshotBytes = 33_554_432
    /// Number of event loops, which share ``maximumSnapshotBytes``.
    public var eventLoops = 1
    /// `FLOWHUB_MAX_QUEUED_BYTES_PER_SUBSCRIBER`: queued bytes above which a stream is not writable.
    public var maximumQueuedBytesPerSubscriber = 65_536
    /// `FLOWHUB_MAX_FLOWS_PER_CONNECTION`: maximum number of flows of one stream that are named in its target.
    public var maximumFlows = 100
    /// `FLOWHUB_MAX_FLOWS_PER_POST`: maximum number of flows of one stream that are named in the request's body.
    public var maximumFlowsInBody = 1_000
    /// `FLOWHUB_MAX_FLOWS_PER_SUBJECT`: maximum number of flows of all streams with several flows of one subject of an account. Not
    /// applied to a hub without keys.
    public var maximumFlowsPerSubject = 20_000
    /// `FLOWHUB_MAX_STREAM_FLOWS`: maximum number of flows of all streams with several flows.
    public var maximumStreamFlows = 1_000_000
    /// Limits of the latest transients of one flow.
    public var transients = TransientLimits()
    /// Maximum number of flows in the feed's `flows` event.
    public var feedPage = 100
    /// Limits of one history page.
    public var page = PageLimit()

    public init() {}
}
