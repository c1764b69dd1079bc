/// The system of record for flows and their events. SQLite and Postgres implement it; one contract suite runs on both.
///
/// Every read and write of this protocol except ``probeWrite()`` compares the store's epoch with ``EpochStore/epoch`` in
/// the statement or transaction of the read or write. If they differ, it changes nothing and throws
/// ``StoreError/epochChanged``.
public protocol FlowStore: EpochStore, AccountUsageStore {
    /// Commits a change with its events, in one transaction. Concurrent changes may share the transaction; the rejection of
    /// one does not affect the others. Changes of one flow take effect in the order of the calls.
    func apply(_ change: FlowChange) async throws(StoreError) -> FlowOutcome

    /// Sets the observer, which receives the commits of this process: those of one flow in commit order, and each before
    /// ``apply(_:)`` returns its outcome. So the events are sent on the bus in order, and before the client that sent the
    /// change is answered.
    ///
    /// Called once, before the first ``apply(_:)``. The observer is called from any thread and must not block.
    func observeCommits(_ observer: @escaping @Sendable ([Commit]) -> Void)

    /// The flow with its state, tombstones included; `nil` if it never existed.
    func load(_ flow: FlowID) async throws(StoreError) -> FlowRecord?

    /// A history page: durable events above `after` in version order, from the first one that has not been pruned, as
    /// many as `limit` allows.
    func page(of flow: FlowID, after: Version, limit: PageLimit) async throws(StoreError) -> EventPage

    /// The heads of these flows, in any order; flows that never existed are left out. The version sweep uses it.
    func heads(of flows: [FlowID]) async throws(StoreError) -> [FlowHead]

    /// The heads of an account's flows, filtered and ordered by the query.
    func list(_ query: FlowQuery) async throws(StoreError) -> FlowList

    /// The heads of flows of all accounts that have ended, without tombstones, and whose last change was before a moment; those
    /// with the earliest change first. For retention.
    func finished(before moment: Timestamp, limit: Int) async throws(StoreError) -> [FlowHead]

    /// Deletes what is beyond the retention, at most ``RetentionPolicy/batch`` rows per call: events, stored replies,
    /// revocations, and tombstones without history.
    ///
    /// The end of a tombstone makes its id free. The store remembers a version that is not below the tombstone's, for a bounded
    /// number of groups of ids, and a flow that is created later starts above the version of its id's group. So no version of an
    /// id is assigned twice in an epoch.
    /// - Returns: the number of deleted rows; 0 if nothing is left to delete, or if another instance is pruning.
    func prune(_ policy: RetentionPolicy, now: Timestamp) async throws(StoreError) -> Int

    /// Tests whether the store accepts writes, by a write that is visible in no flow. Where a larger write may fail although a
    /// smaller one succeeds, the test writes as many bytes as the largest change that failed since the last successful
    /// test. Ignores the epoch.
    func probeWrite() async throws(StoreError)

    /// Whether the store is known to accept no writes, such as a standby. `false` if that is unknown.
    var isReadOnly: Bool { get }
}

extension FlowStore {
    public var isReadOnly: Bool { false }
}

/// The epoch of the store's history.
public protocol EpochStore: Sendable {
    /// The epoch that this process has adopted.
    var epoch: Epoch { get }
    /// Reads the store's epoch and adopts it.
    /// - Returns: the adopted epoch.
    func refreshEpoch() async throws(StoreError) -> Epoch
    /// Raises the store's epoch if it still is `from`, and adopts the new epoch. If another instance has raised the epoch
    /// already, adopts the epoch of that instance. Raising also advances the ``FencingSequence``, beyond the fencing tokens
    /// that were issued in the lost part of the history.
    /// - Returns: the adopted epoch.
    func raiseEpoch(from: Epoch, now: Timestamp) async throws(StoreError) -> Epoch
}

/// The result of ``RevocationStore/revoke(_:now:)``.
public enum RevocationOutcome: Hashable, Sendable {
    /// The revocation of the subject that is in effect now.
    case stored(Revocation)
    /// The account has revoked the maximum number of subjects, and this one is not among them. Nothing was changed.
    case limitReached(Int)
}

/// The counts of what accounts store. They are kept in the transactions that change what is counted, so reading them does not
/// depend on how much is stored.
public protocol AccountUsageStore: Sendable {
    /// What the account stores.
    func usage(of account: String) async throws(StoreError) -> AccountUsage
    /// For each resource the highest count of any account, for metrics.
    func highestUsage() async throws(StoreError) -> AccountUsage
}

/// The store of token revocations.
public protocol RevocationStore: Sendable {
    /// Stores a revocation. Of two revocations of one subject, the one with the later time stays in effect.
    @discardableResult
    func revoke(_ revocation: Revocation, now: Timestamp) async throws(StoreError) -> RevocationOutcome
    /// All revocations of all accounts.
    func revocations() async throws(StoreError) -> [Revocation]
}

/// The source of fencing tokens: numbers that order the holders of a lock, so that a write of an earlier holder can be
/// rejected.
public protocol FencingSequence: Sendable {
    /// Issues a token that is higher than all issued before, across restarts and epochs.
    func nextFencingToken() async throws(StoreError) -> Int64
}

/// What observers receive of one committed change: the stored flow after the change, and the events of the change.
public struct Commit: Sendable {
    public var record: FlowRecord
    /// In version order, the last one at the version of ``record``. A commit from ``Outbox/takeOverdue(limit:)`` has only the
    /// newest event, and none if that was pruned.
    public var events: [FlowEvent]
    public var epoch: Epoch

    public init(record: FlowRecord, events: [FlowEvent], epoch: Epoch) {
        self.record = record
        self.events = events
        self.epoch = epoch
    }
}

/// The bounds of a history page. If the first event alone exceeds ``bytes``, the page contains this one event.
public struct PageLimit: Hashable, Sendable {
    /// Maximum number of events.
    public var events: Int
    /// Maximum size of the events' payloads, in bytes.
    public var bytes: Int

    public init(events: Int = 1_000, bytes: Int = 65_536) {
        self.events = events
        self.bytes = bytes
    }
}

/// A history page: consecutive durable events and the head of their flow, as of one MVCC snapshot of the store.
public struct EventPage: Sendable {
    /// `nil` if the flow never existed.
    public var head: FlowHead?
    /// In version order without gaps. If the first one is above `after + 1`, the events between it and `after` were
    /// pruned.
    public var events: [FlowEvent]

    public init(head: FlowHead?, events: [FlowEvent]) {
        self.head = head
        self.events = events
    }

    /// The flow's version; 0 if the flow never existed.
    public var headVersion: Version { self.head?.version ?? 0 }
}

/// A query for a list page of an account's flows.
public struct FlowQuery: Hashable, Sendable {
    /// The order of the list, and where the list page starts.
    public enum Order: Hashable, Sendable {
        /// By id, ascending; only ids above `after`, or all if it is `nil`.
        case id(after: String?)
        /// By time of the last change, then id, ascending. Only flows changed after `since`, or at `since` with an id above
        /// `after` (any id if it is `nil`).
        case changed(since: Timestamp, after: FlowID?)
        /// By time of the last change, then id, descending: the flow that was changed last comes first.
        case newest
    }

    public var account: String
    /// The statuses that the flows may have; empty for any.
    public var statuses: Set<FlowStatus>
    public var order: Order
    /// The ids that the flows may have; empty for any.
    public var idRanges: [ClosedRange<String>]
    /// Whether tombstones are listed too.
    public var includesDeleted: Bool
    /// Maximum number of flows.
    public var limit: Int

    public init(
        account: String, statuses: Set<FlowStatus> = [], order: Order = .id(after: nil), idRanges: [ClosedRange<String>] = [],
        includesDeleted: Bool = false, limit: Int
    ) {
        self.account = account
        self.statuses = statuses
        self.order = order
        self.idRanges = idRanges
        self.includesDeleted = includesDeleted
        self.limit = limit
    }
}

extension FlowQuery {
    /// Repeats the last element until there are 1, 8 or 64 of them, or a multiple of 64. A statement with one placeholder for
    /// each element then has few forms, which stores may prepare and keep.
    package static func padded<Element>(_ elements: [Element]) -> [Element] {
        guard let last = elements.last, elements.count > 1 else { return elements }
        let count = elements.count <= 8 ? 8 : (elements.count + 63) / 64 * 64
        return elements + repeatElement(last, count: count - elements.count)
    }
}

/// A list page of flows.
public struct FlowList: Sendable {
    public var flows: [FlowHead]
    /// Whether more flows match the query after the last one of this page.
    public var hasMore: Bool

    public init(flows: [FlowHead], hasMore: Bool) {
        self.flows = flows
        self.hasMore = hasMore
    }
}

/// The limits of pruning.
public struct RetentionPolicy: Hashable, Sendable {
    /// Maximum age of durable events in seconds; older ones are pruned. The default is 7 days.
    public var historySeconds: Int64 = 7 * 86_400
    /// Maximum number of durable events per flow; the oldest ones beyond it are pruned.
    public var historyEvents: Int = 10_000
    /// Lifetime of stored replies, in seconds. The default is 1 day.
    public var replySeconds: Int64 = 86_400
    /// Seconds after ``Revocation/notBefore``, and after the revocation was stored, for which it is kept. After them the tokens that it revokes are rejected
    /// anyway, because of their age. 0: revocations are kept for ever.
    public var revocationSeconds: Int64 = 0
    /// Seconds after the deletion of a flow for which its tombstone is kept at least. It stays longer while the flow has events
    /// in its history. 0: for ever. The default is 30 days.
    public var tombstoneSeconds: Int64 = 30 * 86_400
    /// Maximum number of rows deleted by one call of ``FlowStore/prune(_:now:)``.
    public var batch: Int = 2_000

    public init() {}
}

/// The reason that a store operation failed. The texts are shown to operators and clients.
public enum StoreError: Error, Hashable, Sendable {
    /// The store cannot be reached, or failed or timed out. Nothing was changed.
    case unavailable(String)
    /// A queue of the store is full; the store itself may be available. Nothing was changed.
    case overloaded(String)
    /// The store cannot hold a value of the operation, such as text with NUL. Nothing was changed, and no retry helps.
    case invalidValue(String)
    /// The connection was lost during the commit: the change may or may not be durable.
    case outcomeUnknown(String)
    /// The store's epoch is not the adopted one. Nothing was changed; the caller must call ``EpochStore/refreshEpoch()`` and
    /// drop its cached flows.
    case epochChanged
}

extension StoreError: CustomStringConvertible {
    /// A description for operators.
    public var description: String {
        switch self {
        case .unavailable(let reason), .overloaded(let reason), .invalidValue(let reason): reason
        case .outcomeUnknown(let reason): "the outcome of the commit is unknown: \(reason)"
        case .epochChanged: "the epoch of the store changed (restore, failover, or `flowhub epoch bump`)"
        }
    }
}
