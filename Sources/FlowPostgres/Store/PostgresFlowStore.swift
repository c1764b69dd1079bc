public import FlowCore
public import Logging
import Synchronization

/// Flows in Postgres: the store that any number of instances share.
///
/// Changes that arrive together form one transaction for each ``CommitLane``. Reads run at the same time on connections
/// of their own. Every transaction on flows compares the store's epoch and the server's timeline with the adopted ones.
/// Nothing depends on features that a transaction pooler breaks: session state, prepared statements (used on direct
/// connections only) or `LISTEN`. Safe to use from any task; no method blocks a task's thread.
public final class PostgresFlowStore: FlowStore {
    public struct Configuration: Sendable {
        /// Limits of one change.
        public var changes = ChangeLimits()
        /// Limits of the queues and of concurrent operations.
        public var limits = StoreLimits()
        /// Maximum number of flows in the row caches of all lanes together. A change of a cached flow is decided
        /// without reading the flow.
        public var cachedRows = 10_000
        /// Maximum total bytes of the cached states in all lanes.
        public var cachedRowBytes = 33_554_432
        /// Whether written flows are inserted into the outbox, where they stay until the bus has accepted their events;
        /// see ``PostgresOutbox``.
        public var usesOutbox = false

        public init() {}
    }

    /// Identifier of this database, created with its schema. A restored copy of the database has the same one.
    public let hubID: String

    let pool: PostgresPool
    let epochManager: EpochManager
    /// Flows that may have more events than the retention allows; filled by commits and by the scan of all flows.
    let pruneCandidates = PruneCandidates()
    let accountLimits: AccountLimits
    /// Bounds the reads in flight.
    let reads: InFlightLimiter
    /// Bounds the changes that are queued or being committed, by number and bytes.
    private let changes: InFlightLimiter
    /// The hash of a change's flow id selects one of these lanes.
    private let lanes: [CommitLane]
    private let preparer = PatchPreparer()
    private let observers: ObserverBox
    let logger: Logger

    /// Connects to a database whose schema is up to date; see ``MigrationRunner``.
    /// - Parameter now: time from which the counter of a new epoch is derived. The epoch is raised if the database is
    ///   new, or if its server is on another timeline than the epoch's.
    /// - Throws: ``PostgresError`` if the database is unavailable or its tables are not initialized.
    public static func open(
        _ settings: PostgresSettings, configuration: Configuration = .init(), now: Timestamp, logger: Logger
    ) async throws(PostgresError) -> PostgresFlowStore {
        let pool = try PostgresPool(settings, logger: logger)
        do throws(PoolFailure) {
            let row = try await pool.run(
                .control, [Statement("WITH \(StoreSQL.meta) SELECT m.epoch, m.same, h.hub_id FROM meta m, hub_meta h")],
                isRetryable: true)[0].first
            guard let row, let epoch = row.text(0).flatMap({ Epoch($0) }), let isSame = row.bool(1), let hubID = row.text(2)
            else {
                throw PoolFailure(PostgresError(.schema, "the hub's tables are not initialized; run `flowhub migrate`"))
            }
            let store = PostgresFlowStore(pool, hubID: hubID, epoch: epoch, configuration: configuration, logger: logger)
            // Counter 1: a migration has just created the database. Another timeline: the server was promoted from a
            // standby, or recovered to a point in time.
            if epoch.counter == 1 || !isSame { try await store.epochManager.raise(from: epoch, now: now) }
            return store
        } catch {
            await pool.close()
            throw error.error
        }
    }

    private init(_ pool: PostgresPool, hubID: String, epoch: Epoch, configuration: Configuration, logger: Logger) {
        self.pool = pool
        self.hubID = hubID
        self.epochManager = EpochManager(pool: pool, epoch: epoch, logger: logger)
        self.logger = logger
        self.accountLimits = configuration.changes.account
        self.reads = configuration.limits.makeLimiter("read queue is full")
        self.changes = configuration.limits.makeChangeLimiter()
        let observer = ObserverBox()
        self.observers = observer
        let pruneCandidates = self.pruneCandidates
        let environment = CommitLane.Environment(
            pool: pool, epochManager: self.epochManager, limits: configuration.changes,
            usageCache: UsageCache(limits: configuration.changes.account), usesOutbox: configuration.usesOutbox,
            committed: { commits in
                pruneCandidates.add(commits.lazy.map { ($0.record.head.flow, $0.record.version) })
                observer.notify(commits)
            }, logger: logger)
        let count = max(1, pool.settings.changeConnections)
        self.lanes = (0..<count).map { _ in
            CommitLane(
                environment,
                queue: configuration.limits.makeQueue(),
                rowCache: WriterRowCache(
                    maximumEntries: configuration.cachedRows / count, maximumBytes: configuration.cachedRowBytes / count))
        }
        for lane in self.lanes { self.epochManager.onEpochChange { [weak lane] in lane?.invalidateCache() } }
    }

    /// Rejects new operations, waits for those in flight, and closes the connections. May be called more than once.
    public func close() async {
        await self.changes.closeAndDrain()
        await self.reads.closeAndDrain()
        await self.pool.close()
    }

    /// The time of the database's clock.
    public func time() async throws(StoreError) -> Timestamp {
        do throws(PoolFailure) {
            let statement = Statement("SELECT clock_timestamp()")
            let time = try await self.pool.run(.reads, [statement], isRetryable: true)[0].first?.time(0)
            guard let time else { throw PoolFailure(PostgresError.unreadable) }
            return time
        } catch {
            throw StoreError(error.withoutEffect(.isRead))
        }
    }

    // MARK: Changes

    /// Sets the observer, which receives every commit of this process before the client that sent the change is
    /// answered.
    public func observeCommits(_ observer: @escaping @Sendable ([Commit]) -> Void) { self.observers.set(observer) }

    /// Commits the change on its flow's lane, in one batch with other changes that wait on that lane.
    /// - Throws: `overloaded` if the queue of changes is full.
    public func apply(_ change: FlowChange) async throws(StoreError) -> FlowOutcome {
        let bytes = change.bodyBytes
        try self.changes.acquire(bytes: bytes, of: change.account)
        defer { self.changes.release(bytes: bytes, of: change.account) }
        let lane = self.lanes[change.flow.lane(of: self.lanes.count)]
        return try await self.preparer.apply(change) { change throws(StoreError) in
            let result = await withCheckedContinuation { continuation in
                lane.add(PendingChange(change: change, continuation: continuation))
            }
            return try result.get()
        }
    }
}

/// The observer of commits. It is set once, before the first commit.
private final class ObserverBox: Sendable {
    /// Contains the closure. If the closure itself were the generic argument of `Mutex`, each access would wrap the
    /// stored closure in one more reabstraction thunk (a function that the compiler generates), and each call would go
    /// through all of them.
    private struct Observer: Sendable {
        var handler: (@Sendable ([Commit]) -> Void)?
    }

    private let observer = Mutex(Observer())

    /// Sets the observer of all following commits.
    func set(_ observer: @escaping @Sendable ([Commit]) -> Void) { self.observer.withLock { $0.handler = observer } }
    /// Calls the observer, if one is set.
    func notify(_ commits: [Commit]) { self.observer.withLock { $0.handler }?(commits) }
}
