import Dispatch
public import FlowCore
import GRDB
public import Logging
import Synchronization

/// Flows in an SQLite file: the store of a hub that needs no server.
///
/// A write-ahead log with full synchronisation: what is acknowledged survives a power cut. Changes that arrive while a
/// commit is under way share the next one. Reads run beside the writer, each in a snapshot of its own.
///
/// Another process may open the same file for a command such as `flowhub epoch bump`; each waits for the other's
/// transactions, and this one notices what the other did. Safe to use from any task; no method blocks a task's thread.
public final class SQLiteFlowStore: FlowStore {
    public struct Configuration: Sendable {
        /// Bounds that a change must keep.
        public var changes = ChangeLimits()
        /// Bounds of what waits, and of what is done at once.
        public var limits = StoreLimits()
        /// Connections that read, each with a thread while it does.
        public var readers = 4
        /// Flows that the writer keeps at most, so that it need not read them again.
        public var cachedRows = 10_000
        /// Bytes of their states at most.
        public var cachedRowBytes = 33_554_432
        /// Seconds to wait for another process's transaction.
        public var busySeconds = 5

        public init() {}
    }

    /// The name of this database, made with its schema; it survives a restore.
    public let hubID: String

    let pool: DatabasePool
    let adoptedEpoch: AdoptedEpoch
    let pruneCandidates: PruneCandidates
    let reads: InFlightLimiter
    let writes: InFlightLimiter
    private let changes: InFlightLimiter
    private let queue: Mutex<CommitQueue>
    private let writer: CommitWriter
    private let logger: Logger

    /// Opens the folder's database `flowhub.sqlite`, and makes the folder and the tables where they are missing. Blocks
    /// the thread while it does.
    ///
    /// - Parameters:
    ///   - directory: path of a folder that this process may write to.
    ///   - now: for the first epoch and the migrations' times.
    public init(
        directory: String, configuration: Configuration = .init(), now: Timestamp, logger: Logger
    ) throws(EmbeddedStoreError) {
        let opened = try SQLiteDatabaseOpener.open(
            directory: directory, readers: configuration.readers, busySeconds: configuration.busySeconds, now: now)
        self.hubID = opened.hubID
        self.pool = opened.pool
        self.adoptedEpoch = AdoptedEpoch(opened.epoch)
        self.pruneCandidates = PruneCandidates()
        self.reads = configuration.limits.makeLimiter("too many reads wait")
        self.writes = configuration.limits.makeLimiter("too many writes wait")
        self.changes = configuration.limits.makeChangeLimiter()
        self.queue = Mutex(configuration.limits.makeQueue())
        self.writer = CommitWriter(
            limits: configuration.changes, epoch: self.adoptedEpoch, pruneCandidates: self.pruneCandidates,
            rowCache: WriterRowCache(
                maximumEntries: configuration.cachedRows, maximumBytes: configuration.cachedRowBytes),
            logger: logger)
        self.logger = logger
    }

    /// Takes nothing more, finishes what is under way, and closes the file. Using the store afterwards fails as
    /// ``StoreError/unavailable(_:)``. May be called more than once.
    public func close() async {
        await self.changes.closeAndDrain()
        await self.writes.closeAndDrain()
        await self.reads.closeAndDrain()
        await withCheckedContinuation { done in
            // Not on a task's thread, since it waits for the connections' threads.
            DispatchQueue.global().async {
                do {
                    try self.pool.close()
                } catch {
                    self.logger.warning(
                        "The database was not closed in order", metadata: ["reason": "\(StoreError(rolledBack: error))"])
                }
                done.resume()
            }
        }
    }

    // MARK: Changes

    public func observeCommits(_ observer: @escaping @Sendable ([Commit]) -> Void) { self.writer.observe(observer) }

    public func apply(_ change: FlowChange) async throws(StoreError) -> FlowOutcome {
        let bytes = change.bodyBytes
        try self.changes.acquire(bytes: bytes)
        defer { self.changes.release(bytes: bytes) }
        let result = await withCheckedContinuation { continuation in
            let mustStart = self.queue.withLock { $0.add(PendingChange(change: change, continuation: continuation)) }
            if mustStart { self.startWriting() }
        }
        return try result.get()
    }

    private func startWriting() {
        self.pool.asyncWriteWithoutTransaction { database in
            let batch = self.queue.withLock { $0.nextBatch() }
            self.writer.write(batch[...], in: database)
            // A turn of its own for the next batch, so that others who write get theirs in between.
            if self.queue.withLock({ $0.batchFinished() }) { self.startWriting() }
        }
    }
}
