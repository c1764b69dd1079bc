import Dispatch
public import FlowCore
import GRDB
public import Logging
import Synchronization

/// Flows in an SQLite file: the embedded store, for a hub without a database server.
///
/// It uses a write-ahead log with full synchronization, so acknowledged changes survive a power failure. Changes that
/// arrive during a commit are committed together afterwards, in one transaction. Reads run at the same time as writes,
/// each in its own MVCC snapshot.
///
/// Another process may open the same file for a command such as `flowhub epoch bump`. Each of the two waits for the
/// other's transactions, and this process detects the other's changes. Safe to use from any task; no method blocks a
/// task's thread.
public final class SQLiteFlowStore: FlowStore {
    public struct Configuration: Sendable {
        /// Limits of one change.
        public var changes = ChangeLimits()
        /// Limits of the queues and of concurrent operations.
        public var limits = StoreLimits()
        /// Maximum number of reader connections, each with its own thread during a read.
        public var readers = 4
        /// Maximum number of flows in the writer row cache. A change of a cached flow is decided without reading the
        /// flow.
        public var cachedRows = 10_000
        /// Maximum total bytes of the cached states.
        public var cachedRowBytes = 33_554_432
        /// Maximum seconds that a transaction waits for the transaction of another process on the same file.
        public var busySeconds = 5

        public init() {}
    }

    /// The hub id, created with the database. A restored copy of the database has the same one.
    public let hubID: String

    let pool: DatabasePool
    let adoptedEpoch: AdoptedEpoch
    let pruneCandidates: PruneCandidates
    let accountLimits: AccountLimits
    let reads: InFlightLimiter
    let writes: InFlightLimiter
    /// Limits the changes of flows that are queued or being committed. `reads` and `writes` limit all other operations.
    private let changes: InFlightLimiter
    /// The changes that wait for the next batch.
    private let queue: Mutex<CommitQueue>
    let writer: CommitWriter
    private let preparer = PatchPreparer()
    private let logger: Logger

    /// Opens the database `flowhub.sqlite` in a directory. Creates the directory and the tables if they do not exist.
    /// Blocks the calling thread.
    ///
    /// - Parameters:
    ///   - directory: path of a directory that this process may write to.
    ///   - now: the current time, from which a new database's first epoch is made, and which is stored with each
    ///     migration applied now.
    public init(
        directory: String, configuration: Configuration = .init(), now: Timestamp, logger: Logger
    ) throws(EmbeddedStoreError) {
        let restricted = DataFolderAccess.restrict(directory)
        if !restricted.isEmpty {
            logger.notice(
                "Removed other users' access to the data directory",
                metadata: ["directory": "\(directory)", "changed": "\(restricted.joined(separator: " "))"])
        }
        let opened = try SQLiteDatabaseOpener.open(
            directory: directory, readers: configuration.readers, busySeconds: configuration.busySeconds, now: now)
        self.hubID = opened.hubID
        self.pool = opened.pool
        self.adoptedEpoch = AdoptedEpoch(opened.epoch)
        self.pruneCandidates = PruneCandidates()
        self.accountLimits = configuration.changes.account
        self.reads = configuration.limits.makeLimiter("read queue is full")
        self.writes = configuration.limits.makeLimiter("write queue is full")
        self.changes = configuration.limits.makeChangeLimiter()
        self.queue = Mutex(configuration.limits.makeQueue())
        self.writer = CommitWriter(
            limits: configuration.changes, epoch: self.adoptedEpoch, pruneCandidates: self.pruneCandidates,
            rowCache: WriterRowCache(
                maximumEntries: configuration.cachedRows, maximumBytes: configuration.cachedRowBytes),
            logger: logger)
        self.logger = logger
    }

    /// Rejects new operations, waits for those in flight, and closes the file. Using the store afterwards throws
    /// ``StoreError/unavailable(_:)``. May be called more than once.
    public func close() async {
        await self.changes.closeAndDrain()
        await self.writes.closeAndDrain()
        await self.reads.closeAndDrain()
        await withCheckedContinuation { done in
            // Not on a task's thread, because it waits for the connections' threads.
            DispatchQueue.global().async {
                do {
                    try self.pool.close()
                } catch {
                    self.logger.warning(
                        "Failed to close database cleanly", metadata: ["error": "\(StoreError(rolledBack: error))"])
                }
                done.resume()
            }
        }
    }

    // MARK: Changes

    /// Sets the observer, which receives every commit before the client that sent the change is answered.
    public func observeCommits(_ observer: @escaping @Sendable ([Commit]) -> Void) { self.writer.observe(observer) }

    /// Commits the change, in one transaction with other queued changes.
    /// - Throws: `overloaded` if the queue of changes is full.
    public func apply(_ change: FlowChange) async throws(StoreError) -> FlowOutcome {
        let bytes = change.bodyBytes
        try self.changes.acquire(bytes: bytes, of: change.account)
        defer { self.changes.release(bytes: bytes, of: change.account) }
        return try await self.preparer.apply(change) { change throws(StoreError) in try await self.submit(change) }
    }

    /// Passes a change to the writer.
    /// - Returns: what the writer decided. If that is an outcome, it is committed.
    private func submit(_ change: FlowChange) async throws(StoreError) -> ChangeBatch.Decision {
        let result = await withCheckedContinuation { continuation in
            let mustStart = self.queue.withLock { $0.add(PendingChange(change: change, continuation: continuation)) }
            if mustStart { self.startWriting() }
        }
        return try result.get()
    }

    /// Writes batch after batch on the writer's queue until no change is queued.
    private func startWriting() {
        self.pool.asyncWriteWithoutTransaction { database in
            let batch = self.queue.withLock { $0.nextBatch { self.writer.stateBytes(of: $0) } }
            self.writer.write(batch[...], in: database)
            // The next batch is a separate item on the writer's queue, so that other writes, such as those of imports,
            // run between batches.
            if self.queue.withLock({ $0.batchFinished() }) { self.startWriting() }
        }
    }
}
