import FlowCore
import GRDB
import Logging
import Synchronization

/// Writes batches of changes, each in one transaction, and answers the clients that sent them.
///
/// ``write(_:in:)`` is called on the database's writer queue only, one call at a time, so the cache's mutex is never
/// contended.
final class CommitWriter: Sendable {
    /// A struct around the observer's closure. `Mutex` is generic: if the closure itself were its value, Swift would
    /// wrap the closure in one more closure (a reabstraction thunk) at each access.
    private struct Observer: Sendable {
        var handler: (@Sendable ([Commit]) -> Void)?
    }

    private let limits: ChangeLimits
    private let epoch: AdoptedEpoch
    private let pruneCandidates: PruneCandidates
    private let cache: Mutex<SQLiteWriterCache>
    private let logger: Logger
    private let failureLog = LogLimiter()
    private let observer = Mutex(Observer())
    /// The bytes of the largest batch that failed since the last successful probe.
    private let failedBytes = Atomic<Int>(0)

    init(limits: ChangeLimits, epoch: AdoptedEpoch, pruneCandidates: PruneCandidates, rowCache: WriterRowCache, logger: Logger) {
        self.limits = limits
        self.epoch = epoch
        self.pruneCandidates = pruneCandidates
        self.cache = Mutex(SQLiteWriterCache(rowCache: rowCache))
        self.logger = logger
    }

    /// Sets the observer, which receives every commit.
    func observe(_ observer: @escaping @Sendable ([Commit]) -> Void) { self.observer.withLock { $0.handler = observer } }

    /// Commits the changes, in one transaction if no change makes it fail. Then notifies the observer and answers the
    /// clients that sent the changes.
    func write(_ pending: ArraySlice<PendingChange>, in database: Database) {
        let batch: ChangeBatch
        do {
            batch = try self.transact(pending, in: database)
        } catch {
            self.invalidateCache()
            guard case .rolledBack(_, mayConcernOne: true) = error, pending.count > 1 else {
                if let count = self.failureLog.add(pending.count) {
                    self.logger.warning(
                        "Failed to commit changes",
                        metadata: ["changes": .stringConvertible(count), "error": "\(error.reason)"])
                }
                self.complete(pending, .failure(error.reason))
                return
            }
            // One change may have failed the transaction: retry the halves separately, down to single changes.
            let middle = pending.startIndex + pending.count / 2
            self.write(pending[..<middle], in: database)
            self.write(pending[middle...], in: database)
            return
        }
        self.publish(batch)
        self.complete(pending, batch)
    }

    // MARK: Probes

    /// The bytes that a probe must be able to write.
    var probeBytes: Int { self.failedBytes.load(ordering: .relaxed) }

    /// Reports that a probe has written `bytes` bytes.
    func probeSucceeded(bytes: Int) {
        // A batch may have failed during the probe; then its size stays.
        _ = self.failedBytes.compareExchange(expected: bytes, desired: 0, ordering: .relaxed)
    }

    private func noteFailure(_ batch: ChangeBatch) {
        self.failedBytes.max(batch.writtenBytes, ordering: .relaxed)
    }

    // MARK: Steps

    /// The failure of a batch's transaction.
    enum Failure: Error {
        /// The transaction was rolled back before COMMIT, so nothing was changed.
        /// - Parameter mayConcernOne: whether a single change may have caused the error, so that the others may succeed
        ///   without it.
        case rolledBack(StoreError, mayConcernOne: Bool)
        /// COMMIT failed. The outcome is unknown if the error is `outcomeUnknown`; otherwise nothing was changed.
        case commit(StoreError)

        var reason: StoreError {
            switch self {
            case .rolledBack(let reason, _), .commit(let reason): reason
            }
        }
    }

    /// Decides and commits the changes in one transaction.
    private func transact(_ pending: ArraySlice<PendingChange>, in database: Database) throws(Failure) -> ChangeBatch {
        let batch = try self.decide(pending, in: database)
        do {
            try database.commit()
        } catch {
            try? database.rollback()
            self.noteFailure(batch)
            throw .commit(StoreError(failedCommit: error))
        }
        return batch
    }

    /// Begins a transaction, decides the changes and writes them; the caller commits. If this method throws, the
    /// transaction was rolled back.
    private func decide(_ pending: ArraySlice<PendingChange>, in database: Database) throws(Failure) -> ChangeBatch {
        let epoch = self.epoch.value
        var batch = ChangeBatch(epoch: epoch, limits: self.limits)
        do {
            try database.beginTransaction(.immediate)
            try database.check(epoch)
            let dataVersion = try database.first("PRAGMA data_version", []) { $0[0] as Int64 }
            try self.cache.withLock { cache in
                cache.invalidateIfChanged(dataVersion: dataVersion)
                for change in pending { try batch.perform(change.change, in: database, cache: &cache) }
            }
            try batch.finish(database)
        } catch {
            // The rollback itself fails if SQLite has already rolled back, which has the same effect.
            try? database.rollback()
            self.noteFailure(batch)
            throw .rolledBack(
                StoreError(rolledBack: error), mayConcernOne: (error as? DatabaseError)?.mayConcernOneOperation ?? false)
        }
        return batch
    }

    /// Puts the rows of a committed batch into the writer row cache and its flows into the prune candidates, and
    /// reports its commits to the observer. Called before the clients are answered.
    private func publish(_ batch: ChangeBatch) {
        self.cache.withLock { $0.rowCache.update(from: batch.rows) }
        guard !batch.commits.isEmpty else { return }
        self.pruneCandidates.add(batch.commits.lazy.map { ($0.record.head.flow, $0.record.version) })
        self.observer.withLock { $0.handler }?(batch.commits)
    }

    /// The size of a flow's cached state, in bytes; 0 if it is not cached.
    func stateBytes(of flow: FlowID) -> Int { self.cache.withLock { $0.rowCache.stateBytes(of: flow) } }

    /// Empties the writer row cache, so that the next changes are decided from rows read from the database.
    private func invalidateCache() { self.cache.withLock { $0.rowCache.removeAll() } }

    /// Answers the clients that sent the changes, each with the decision about its change.
    private func complete(_ pending: ArraySlice<PendingChange>, _ batch: ChangeBatch) {
        for (change, decision) in zip(pending, batch.decisions) { change.continuation.resume(returning: .success(decision)) }
    }

    /// Answers all clients that sent the changes, each with the same result.
    private func complete(_ pending: ArraySlice<PendingChange>, _ result: Result<ChangeBatch.Decision, StoreError>) {
        for change in pending { change.continuation.resume(returning: result) }
    }
}
