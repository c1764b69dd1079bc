public import FlowCore
import Logging
import NIOCore
import Synchronization

/// The services and counters that the event loops share. Safe to use from any thread.
final class StreamServices: Sendable {
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
    private let streams = Atomic<Int>(0)
    private let nextNumber = Atomic<UInt64>(0)
    private let draining = Atomic<Bool>(false)
    /// Number of new streams that were closed instead of opened because of a limit, by reason.
    private let refusals = Mutex<[ClosingReason: Int]>([:])
    /// Number of streams by account and subject.
    private let bySubject = Mutex<[String: Int]>([:])

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

    /// Number of streams that ``admit(_:)`` has counted, over all event loops.
    var streamCount: Int { self.streams.load(ordering: .relaxed) }
    var isDraining: Bool { self.draining.load(ordering: .relaxed) }
    /// From now on new streams are closed immediately, with the reason `drain`.
    func startDraining() { self.draining.store(true, ordering: .relaxed) }

    /// Counts a new stream, unless the limit of streams of the instance or of the subject is reached.
    /// - Returns: the number of the stream; `nil` if a limit is reached.
    func admit(_ principal: Principal) -> UInt64? {
        let limit = self.configuration.maximumConnections
        guard self.streams.add(1, ordering: .relaxed).newValue <= limit else {
            self.streams.subtract(1, ordering: .relaxed)
            self.countRefusal(.full)
            return nil
        }
        if !principal.isOpen {
            let key = "\(principal.account) \(principal.subject)"
            let limit = self.configuration.maximumConnectionsPerSubject
            let fits = self.bySubject.withLock { subjects in
                guard subjects[key, default: 0] < limit else { return false }
                subjects[key, default: 0] += 1
                return true
            }
            guard fits else {
                self.streams.subtract(1, ordering: .relaxed)
                self.countRefusal(.full)
                return nil
            }
        }
        return self.nextNumber.add(1, ordering: .relaxed).newValue
    }

    /// Subtracts a closed stream from the numbers of streams to which ``admit(_:)`` has added it.
    func release(_ principal: Principal) {
        self.streams.subtract(1, ordering: .relaxed)
        guard !principal.isOpen else { return }
        let key = "\(principal.account) \(principal.subject)"
        self.bySubject.withLock { subjects in
            guard let count = subjects[key] else { return }
            subjects[key] = count > 1 ? count - 1 : nil
        }
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
    /// `FLOWHUB_MAX_FLOWS_PER_CONNECTION`: maximum number of flows of one stream.
    public var maximumFlows = 12
    /// Limits of the latest transients of one flow.
    public var transients = TransientLimits()
    /// Maximum number of flows in the feed's `flows` event.
    public var feedPage = 100
    /// Limits of one history page.
    public var page = PageLimit()

    public init() {}
}
