/// Where flows and their events are durable. SQLite and Postgres implement it; one contract suite runs on both.
///
/// Every method compares, in its own statement or transaction, the store's epoch with ``EpochStore/epoch`` and throws
/// ``StoreError/epochChanged`` on a difference, having written nothing.
public protocol FlowStore: EpochStore {
    /// Commits a change with its events, in one transaction. Changes that arrive together may share the transaction; a
    /// rejection is the result of the one operation and does not touch its neighbours. Changes of one flow take effect
    /// in the order of the calls' arrival.
    func apply(_ change: FlowChange) async throws(StoreError) -> FlowOutcome

    /// Tells every commit, in commit order and before anybody is answered, so that what is published is in order too. The
    /// observer is called from any thread and must not block. Called once, before the first ``apply(_:)``.
    func observeCommits(_ observer: @escaping @Sendable ([Commit]) -> Void)

    /// The flow with its state, tombstones included; `nil` if it never existed.
    func load(_ flow: FlowID) async throws(StoreError) -> FlowRecord?

    /// Durable events in the order of their versions, beginning at the first that is kept above `after`.
    func page(of flow: FlowID, after: Version, limit: PageLimit) async throws(StoreError) -> EventPage

    /// The heads of these flows; a flow that never existed is left out. This is the question of the version sweep.
    func heads(of flows: [FlowID]) async throws(StoreError) -> [FlowHead]

    /// Flows in the order of their ids, or of their last change.
    func list(_ query: FlowQuery) async throws(StoreError) -> FlowList

    /// Removes history and replies that are past their time, a bounded number of rows a call. Tombstones stay: their version
    /// must not be given out again.
    /// - Returns: the number of rows removed; 0 when nothing is left to do.
    func prune(_ policy: RetentionPolicy, now: Timestamp) async throws(StoreError) -> Int

    /// Commits something small that no flow shows, to learn whether the store takes writes. Does not look at the epoch.
    func probeWrite() async throws(StoreError)
}

/// The name of the store's history.
public protocol EpochStore: Sendable {
    /// The epoch that this process works under.
    var epoch: Epoch { get }
    /// Reads the epoch anew and works under it from now on.
    func refreshEpoch() async throws(StoreError) -> Epoch
    /// Raises the epoch, if it still is `from`; somebody else's raise counts as done. The fencing sequence jumps ahead.
    func raiseEpoch(from: Epoch, now: Timestamp) async throws(StoreError) -> Epoch
}

/// Tokens that are not valid any more.
public protocol RevocationStore: Sendable {
    /// - Returns: what holds from now on: of two revocations of one subject the later moment.
    @discardableResult
    func revoke(_ revocation: Revocation, now: Timestamp) async throws(StoreError) -> Revocation
    func revocations() async throws(StoreError) -> [Revocation]
}

/// The numbers that order the holders of a lock. Each is above all before it, across restarts and epochs.
public protocol FencingSequence: Sendable {
    func nextFencingToken() async throws(StoreError) -> Int64
}

/// What one committed change made of a flow.
public struct Commit: Sendable {
    public var record: FlowRecord
    public var events: [FlowEvent]
    public var epoch: Epoch

    public init(record: FlowRecord, events: [FlowEvent], epoch: Epoch) {
        self.record = record
        self.events = events
        self.epoch = epoch
    }
}

/// How much of a flow's history one page may hold. A page holds at least one event, however large.
public struct PageLimit: Hashable, Sendable {
    public var events: Int
    public var bytes: Int

    public init(events: Int = 1_000, bytes: Int = 65_536) {
        self.events = events
        self.bytes = bytes
    }
}

/// Consecutive durable events and the head of their flow, read in one snapshot of the store.
public struct EventPage: Sendable {
    /// `nil` if the flow never existed.
    public var head: FlowHead?
    /// Ascending and without a hole. Where the first is above the version asked for plus one, pruning took what lay between.
    public var events: [FlowEvent]

    public init(head: FlowHead?, events: [FlowEvent]) {
        self.head = head
        self.events = events
    }

    public var headVersion: Version { self.head?.version ?? 0 }
}

public struct FlowQuery: Hashable, Sendable {
    public enum Order: Hashable, Sendable {
        /// Ascending ids above `after`.
        case id(after: String?)
        /// Ascending time of the last change and id: not before this moment, and of that moment only ids above `after`.
        case changed(since: Timestamp, after: FlowID?)
        /// Descending time of the last change and id: what was touched last comes first.
        case newest
    }

    public var account: String
    public var status: FlowStatus?
    public var order: Order
    /// Tombstones are listed only when asked for.
    public var includesDeleted: Bool
    public var limit: Int

    public init(
        account: String, status: FlowStatus? = nil, order: Order = .id(after: nil), includesDeleted: Bool = false, limit: Int
    ) {
        self.account = account
        self.status = status
        self.order = order
        self.includesDeleted = includesDeleted
        self.limit = limit
    }
}

public struct FlowList: Sendable {
    public var flows: [FlowHead]
    /// Whether there are more behind the last.
    public var hasMore: Bool

    public init(flows: [FlowHead], hasMore: Bool) {
        self.flows = flows
        self.hasMore = hasMore
    }
}

/// How long what is kept.
public struct RetentionPolicy: Hashable, Sendable {
    /// Events older than this are pruned. The default is 7 days.
    public var historySeconds: Int64 = 7 * 86_400
    /// The newest events of a flow that are kept at most.
    public var historyEvents: Int = 10_000
    /// Replies to idempotency keys.
    public var replySeconds: Int64 = 86_400
    /// Rows removed in one call.
    public var batch: Int = 2_000

    public init() {}
}

/// Why the store did not do what it was asked.
public enum StoreError: Error, Hashable, Sendable {
    /// Not reached, or busy beyond its time limit. Nothing was changed.
    case unavailable(String)
    /// More waits for the store than may. It is there; nothing was changed.
    case overloaded(String)
    /// The connection was lost while the commit was under way: the change may or may not be durable.
    case outcomeUnknown(String)
    /// The store's history is another one. Nothing was changed; refresh the epoch and drop what is in memory.
    case epochChanged
}
