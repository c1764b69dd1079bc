public import FlowCore
public import Logging
import Synchronization

/// Flows in Postgres: the store that any number of instances share.
///
/// Changes that arrive together are one transaction for each ``CommitLane``; reads run beside them on connections of their
/// own. Every statement compares the epoch and the server's timeline. Through a transaction pooler nothing is used that such a
/// one breaks: no session state, no prepared statements; nowhere `LISTEN`. Safe to use from any task; no method blocks a task's thread.
public final class PostgresFlowStore: FlowStore {
    public struct Configuration: Sendable {
        /// Bounds that a change must keep.
        public var changes = ChangeLimits()
        /// Bounds of what waits, and of what is done at once.
        public var limits = StoreLimits()
        /// Flows that the lanes keep at most, so that they need not read them again.
        public var cachedRows = 10_000
        /// Bytes of their states at most.
        public var cachedRowBytes = 33_554_432
        /// Whether what was committed is noted until a bus has taken it; see ``PostgresOutbox``.
        public var usesOutbox = false

        public init() {}
    }

    /// The name of this database, made with its schema; it survives a restore.
    public let hubID: String

    let pool: PostgresPool
    let keeper: EpochManager
    let trims = PruneCandidates()
    let reads: InFlightLimiter
    private let changes: InFlightLimiter
    private let lanes: [CommitLane]
    private let observers: ObserverBox
    let logger: Logger

    /// Connects to a database whose schema is up to date, see ``MigrationRunner``.
    /// - Parameter now: for the epoch of a new or promoted database.
    public static func open(
        _ settings: PostgresSettings, configuration: Configuration = .init(), now: Timestamp, logger: Logger
    ) async throws(PostgresError) -> PostgresFlowStore {
        let pool = try PostgresPool(settings, logger: logger)
        do throws(PoolFailure) {
            let row = try await pool.run(
                .chores, [Statement("WITH \(StoreSQL.meta) SELECT m.epoch, m.same, h.hub_id FROM meta m, hub_meta h")],
                isRepeatable: true)[0].first
            guard let row, let epoch = row.text(0).flatMap({ Epoch($0) }), let isSame = row.bool(1), let hubID = row.text(2)
            else {
                throw PoolFailure(PostgresError(.schema, "the hub's tables are empty; run `flowhub migrate`"))
            }
            let store = PostgresFlowStore(pool, hubID: hubID, epoch: epoch, configuration: configuration, logger: logger)
            // Made by the migration just now, or promoted from a standby since.
            if epoch.counter == 1 || !isSame { try await store.keeper.raise(from: epoch, now: now) }
            return store
        } catch {
            await pool.close()
            throw error.error
        }
    }

    private init(_ pool: PostgresPool, hubID: String, epoch: Epoch, configuration: Configuration, logger: Logger) {
        self.pool = pool
        self.hubID = hubID
        self.keeper = EpochManager(pool: pool, epoch: epoch, logger: logger)
        self.logger = logger
        self.reads = configuration.limits.gate("too many reads wait")
        self.changes = configuration.limits.changeGate
        let observer = ObserverBox()
        self.observers = observer
        let trims = self.trims
        let environment = CommitLane.Environment(
            pool: pool, keeper: self.keeper, limits: configuration.changes, usesOutbox: configuration.usesOutbox,
            committed: { commits in
                trims.add(commits.lazy.map { ($0.record.head.flow, $0.record.version) })
                observer.tell(commits)
            }, logger: logger)
        let count = max(1, pool.settings.changeConnections)
        self.lanes = (0..<count).map { _ in
            CommitLane(
                environment,
                queue: configuration.limits.makeQueue(),
                known: WriterRowCache(
                    maximumEntries: configuration.cachedRows / count, maximumBytes: configuration.cachedRowBytes / count))
        }
        for lane in self.lanes { self.keeper.onChange { [weak lane] in lane?.forget() } }
    }

    /// Takes nothing more, finishes what is under way, and closes the connections. May be called more than once.
    public func close() async {
        await self.changes.close()
        await self.reads.close()
        await self.pool.close()
    }

    // MARK: Changes

    public func observeCommits(_ observer: @escaping @Sendable ([Commit]) -> Void) { self.observers.set(observer) }

    public func apply(_ change: FlowChange) async throws(StoreError) -> FlowOutcome {
        let bytes = change.bodyBytes
        try self.changes.enter(bytes: bytes)
        defer { self.changes.leave(bytes: bytes) }
        let lane = self.lanes[Int(truncatingIfNeeded: UInt(bitPattern: change.flow.hashValue) % UInt(self.lanes.count))]
        let result = await withCheckedContinuation { answer in
            lane.add(PendingChange(change: change, answer: answer))
        }
        return try result.get()
    }
}

/// Who is told of commits. Set once, before the first of them.
private final class ObserverBox: Sendable {
    /// A struct of its own: a closure that is a generic type's very argument is wrapped anew by every access to it.
    private struct Observer: Sendable {
        var tell: (@Sendable ([Commit]) -> Void)?
    }

    private let observer = Mutex(Observer())

    func set(_ observer: @escaping @Sendable ([Commit]) -> Void) { self.observer.withLock { $0.tell = observer } }
    func tell(_ commits: [Commit]) { self.observer.withLock { $0.tell }?(commits) }
}
