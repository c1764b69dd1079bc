import FlowCore
import Logging
import Synchronization

/// One serial writer of changes to Postgres. Changes that arrive while a batch is in flight form the next batch.
///
/// Within a process a flow always maps to the same lane, so its changes are committed, and reported to the observer, in
/// order. A batch is decided from rows in the lane's row cache, or read for the batch, and written by one
/// compare-and-set statement. Changes of flows in conflict are decided again under the flows' row locks.
final class CommitLane: Sendable {
    /// Dependencies and settings that all lanes of a store share.
    struct Environment: Sendable {
        let pool: PostgresPool
        let epochManager: EpochManager
        let limits: ChangeLimits
        /// What accounts store, shared by the lanes.
        let usageCache: UsageCache
        /// Whether each written flow is inserted into the outbox.
        let usesOutbox: Bool
        /// Receives every commit, before the client that sent the change is answered.
        let committed: @Sendable ([Commit]) -> Void
        let logger: Logger
        let failureLog = LogLimiter()
    }

    /// Maximum number of attempts to write a batch under row locks. Changes of flows that are still in conflict after
    /// the last attempt fail.
    private static let maximumTries = 6

    private let environment: Environment
    private let queue: Mutex<CommitQueue>
    /// The flows that this lane read or wrote last. Accessed by the batch in flight, by retries of deferred changes,
    /// and by ``invalidateCache()``.
    private let rowCache: Mutex<WriterRowCache>
    /// Deferred changes: another transaction has locked the rows of their flows.
    private let lockedRows = Mutex(LockedRowQueue())

    init(_ environment: Environment, queue: consuming CommitQueue, rowCache: WriterRowCache) {
        self.environment = environment
        self.queue = Mutex(queue)
        self.rowCache = Mutex(rowCache)
    }

    /// Queues a change, and starts the writer if it is idle.
    func add(_ pending: PendingChange) {
        let mustStart = self.queue.withLock { $0.add(pending) }
        // A detached task: it writes the changes of all callers, so neither the cancellation nor the task-local values of one
        // caller are its own.
        if mustStart { Task.detached { await self.work() } }
    }

    /// Writes batch after batch until no change is queued.
    private func work() async {
        repeat {
            let batch = self.queue.withLock { $0.nextBatch { flow in self.rowCache.withLock { $0.stateBytes(of: flow) } } }
            // If a flow has deferred changes, its row is locked, and a new change is deferred after them. Written at
            // once, it would overtake them.
            let ready = self.lockedRows.withLock { lockedRows in batch.filter { !lockedRows.enqueueIfFlowDeferred($0) } }
            if !ready.isEmpty { await self.write(ready) }
        } while self.queue.withLock { $0.batchFinished() }
    }

    /// Empties the row cache, so that the next changes are decided from rows read from the database.
    func invalidateCache() { self.rowCache.withLock { $0.removeAll() } }

    // MARK: Batches decided from the row cache

    /// Commits a batch that is decided from cached rows. Changes of flows in conflict are then written under row locks;
    /// so is the whole batch, if this attempt failed with an error that a single change may have caused.
    private func write(_ pending: [PendingChange]) async {
        let retry: ArraySlice<PendingChange>
        var seen = SeenVersions(epoch: self.environment.epochManager.epoch)
        do throws(PoolFailure) {
            let (batch, checked) = try await self.decide(pending)
            seen = SeenVersions(batch)
            var confirmed: Set<FlowID> = []
            if batch.hasDirtyRows || !checked.isEmpty {
                let statement = ChangeStatements.write(batch, checked: checked, outbox: self.environment.usesOutbox)
                let result = try await self.environment.pool.run(.changes, [statement], isRetryable: false)[0]
                confirmed = try Self.confirmedFlows(result, batch)
            }
            retry = await self.finishBatch(pending[...], batch, checked: checked, confirmed: confirmed)
        } catch {
            self.invalidateCache()
            if !error.mayHaveTakenEffect, error.error.mayConcernOneOperation {
                retry = pending[...]
            } else {
                self.fail(pending[...], error)
                return
            }
        }
        if !retry.isEmpty { await self.writeLocked(retry, seen: seen) }
    }

    /// Decides the changes from cached rows, after reading the rows that are not cached.
    /// - Returns: the batch; and in `checked` each flow that the batch leaves unchanged, if its row came from the cache
    ///   or the batch stores a reply for it, with the version that it must still have when the batch is written.
    private func decide(
        _ pending: [PendingChange]
    ) async throws(PoolFailure) -> (batch: ChangeBatch, checked: [(FlowID, Version)]) {
        var batch = ChangeBatch(epoch: self.environment.epochManager.epoch, limits: self.environment.limits)
        var missing: Set<FlowID> = []
        self.rowCache.withLock { rowCache in
            for flow in Set(pending.map(\.change.flow)) {
                if let record = rowCache.record(of: flow) { batch.setStored(record, of: flow) } else { missing.insert(flow) }
            }
        }
        let keys = Self.keys(of: pending[...])
        let accounts = Set(pending.map(\.change.account))
        for account in accounts {
            if let usage = self.environment.usageCache.usage(of: account) { batch.setStored(usage, of: account) }
        }
        if !missing.isEmpty || !keys.isEmpty || !accounts.allSatisfy({ batch.hasLoaded(account: $0) }) {
            let results = try await self.environment.pool.run(
                .changes, Self.reads(missing, keys, accounts, locking: false), isRetryable: true)
            try self.load(results, flows: missing, keys: keys, accounts: accounts, into: &batch)
        }
        for change in pending { batch.decide(change.change) }
        let replied = Set(batch.newReplies.map(\.reply.flow))
        let checked = batch.rows.filter { flow, row in !row.isDirty && (!missing.contains(flow) || replied.contains(flow)) }
        return (batch, checked.map { ($0.key, $0.value.stored?.version ?? 0) })
    }

    // MARK: Batches under row locks

    /// Decides and writes the changes under their flows' row locks. If the transaction fails with an error that a
    /// single change may have caused, the batch is halved repeatedly, down to single changes. Changes of flows whose
    /// rows another transaction has locked are deferred.
    /// - Parameter seen: the versions of the flows that this process has read or committed before.
    private func writeLocked(_ pending: ArraySlice<PendingChange>, seen: SeenVersions) async {
        var remaining = pending
        for _ in 0..<Self.maximumTries where !remaining.isEmpty {
            let epoch = self.environment.epochManager.epoch
            do throws(PoolFailure) {
                remaining = try await self.transact(remaining, epoch, seen)
            } catch {
                if error.error == .storeRegressed {
                    await self.raiseEpoch(from: epoch, remaining)
                    return
                }
                guard !error.mayHaveTakenEffect, error.error.mayConcernOneOperation else {
                    self.invalidateCache()
                    self.fail(remaining, error)
                    return
                }
                // A lock timeout with one flow left: another transaction has inserted this flow or idempotency key
                // and has not committed yet.
                if error.error.code == .locked, Set(remaining.map(\.change.flow)).count == 1 {
                    self.deferUntilUnlocked(Array(remaining))
                    return
                }
                if remaining.count > 1 {
                    let middle = remaining.startIndex + remaining.count / 2
                    await self.writeLocked(remaining[..<middle], seen: seen)
                    await self.writeLocked(remaining[middle...], seen: seen)
                    return
                }
                if error.error.code != .conflict {
                    self.invalidateCache()
                    self.fail(remaining, error)
                    return
                }
            }
        }
        if !remaining.isEmpty { self.fail(remaining, PoolFailure(.tooMuchContention)) }
    }

    /// Decides and writes the changes in one transaction under row locks.
    /// - Returns: the changes to retry, because another instance created their flow between the read and the write.
    /// - Throws: `storeRegressed` if a flow's version is lower than the one in `seen`.
    private func transact(
        _ pending: ArraySlice<PendingChange>, _ epoch: Epoch, _ seen: SeenVersions
    ) async throws(PoolFailure) -> ArraySlice<PendingChange> {
        let flows = Set(pending.map(\.change.flow))
        let keys = Self.keys(of: pending)
        let accounts = Set(pending.map(\.change.account))
        let environment = self.environment
        let (batch, checked, confirmed, lockedFlows) = try await environment.pool.withLease(.changes) {
            lease async throws(PoolFailure) in
            var batch = ChangeBatch(epoch: epoch, limits: environment.limits)
            var reads = Self.reads(flows, keys, accounts, locking: true)
            // Before the floor: a tombstone that is missing here has left its version there.
            reads.insert(ChangeStatements.existing(flows), at: 1)
            var found = try await lease.begin(then: reads)
            // Flows that exist and were skipped by the locking read: another transaction has locked their rows.
            let existing = found.remove(at: 1).rows.compactMap { $0.text(0).flatMap { FlowID($0) } }
            try self.load(found, flows: flows, keys: keys, accounts: accounts, into: &batch)
            let lockedFlows = Set(existing.filter { batch.rows[$0]?.stored == nil })
            // A version below the one seen before means that the database was restored to an older copy. If anything
            // were written before the epoch is raised, a lost version would be assigned to a different event.
            if seen.isAhead(of: batch, except: lockedFlows) { throw PoolFailure(.storeRegressed) }
            for change in pending where !lockedFlows.contains(change.change.flow) { batch.decide(change.change) }
            let checked = Set(batch.newReplies.map(\.reply.flow)).filter { batch.rows[$0]?.isDirty == false }
                .map { ($0, batch.rows[$0]?.stored?.version ?? 0) }
            let statement = ChangeStatements.write(batch, checked: checked, outbox: environment.usesOutbox)
            let results = try await lease.run([statement, Statement("COMMIT")])
            return (batch, checked, try Self.confirmedFlows(results[0], batch), lockedFlows)
        }
        if !lockedFlows.isEmpty { self.deferUntilUnlocked(pending.filter { lockedFlows.contains($0.change.flow) }) }
        let decided = pending.filter { !lockedFlows.contains($0.change.flow) }
        return await self.finishBatch(decided[...], batch, checked: checked, confirmed: confirmed)
    }

    // MARK: Locked rows

    /// Defers changes: they are retried until their flows' rows are unlocked, and fail after
    /// ``PostgresSettings/lockSeconds``. The lane continues with changes of other flows.
    private func deferUntilUnlocked(_ pending: [PendingChange]) {
        let until = ContinuousClock.now + .seconds(self.environment.pool.settings.lockSeconds)
        let mustStart = self.lockedRows.withLock { $0.add(pending, until: until) }
        if mustStart { Task.detached { await self.retryDeferred() } }
    }

    /// Retries the deferred changes every ``LockedRowQueue/retryInterval`` until none are left.
    private func retryDeferred() async {
        while true {
            // No connection is in use during the wait, so the number of deferred flows is not limited by the pool.
            try? await Task.sleep(for: LockedRowQueue.retryInterval)
            let (due, expired) = self.lockedRows.withLock { $0.nextBatch(now: .now) }
            if !expired.isEmpty { self.fail(expired[...], PoolFailure(.rowLocked)) }
            if !due.isEmpty { await self.writeLocked(due[...], seen: SeenVersions(epoch: self.environment.epochManager.epoch)) }
            if self.lockedRows.withLock({ $0.batchFinished() }) { return }
        }
    }

    /// Raises the epoch and fails the changes, of which nothing was written. The callers retry them under the new
    /// epoch.
    /// - Parameter from: the epoch under which the lower version was found. If the store's epoch is not this one any
    ///   more, it is not raised again.
    private func raiseEpoch(from epoch: Epoch, _ pending: ArraySlice<PendingChange>) async {
        self.environment.logger.error("Database is older than committed changes (restored?); raising the epoch")
        let latest = pending.map(\.change.at).max() ?? Timestamp(milliseconds: 0)
        do throws(PoolFailure) {
            try await self.environment.epochManager.raise(from: epoch, now: latest)
            self.fail(pending, PoolFailure(.epochChanged))
        } catch {
            self.fail(pending, error.withoutEffect(.isPreparation))
        }
    }

    // MARK: Steps of both kinds of batch

    /// Caches the batch's rows, reports the confirmed commits to the observer, and answers the clients whose changes
    /// were confirmed.
    /// - Returns: the changes of flows in conflict, to be decided again.
    private func finishBatch(
        _ pending: ArraySlice<PendingChange>, _ batch: ChangeBatch, checked: [(FlowID, Version)], confirmed: Set<FlowID>
    ) async -> ArraySlice<PendingChange> {
        #if DEBUG
        await Failpoint.reach(.afterCommit)
        #endif
        var conflicted = Set(checked.lazy.map(\.0).filter { !confirmed.contains($0) })
        for (flow, row) in batch.rows where row.isDirty && !confirmed.contains(flow) { conflicted.insert(flow) }
        self.rowCache.withLock { rowCache in
            // If another epoch was adopted since the batch was decided, the rows belong to an old history and must not
            // be cached.
            if batch.epoch == self.environment.epochManager.epoch { rowCache.update(from: batch.rows) }
            for flow in conflicted { rowCache.remove(flow) }
        }
        if conflicted.isEmpty {
            self.environment.usageCache.add(batch.usageChanges)
        } else {
            self.environment.usageCache.remove(batch.usageChanges.keys)
        }
        let commits = conflicted.isEmpty ? batch.commits : batch.commits.filter { !conflicted.contains($0.record.head.flow) }
        if !commits.isEmpty { self.environment.committed(commits) }
        // A change that repeats the idempotency key of a change in conflict was decided from a reply that was not
        // stored after all. So that change is decided again as well.
        var keys: Set<ChangeBatch.ReplyKey> = []
        var retry: [PendingChange] = []
        for (change, decision) in zip(pending, batch.decisions) {
            let key = change.change.replyKey
            if conflicted.contains(change.change.flow) || (key.map(keys.contains) ?? false) {
                if let key { keys.insert(key) }
                retry.append(change)
            } else {
                change.continuation.resume(returning: .success(decision))
            }
        }
        return retry[...]
    }

    /// The idempotency keys of the changes, sorted and without duplicates.
    private static func keys(of pending: ArraySlice<PendingChange>) -> [ChangeBatch.ReplyKey] {
        Set(pending.flatMap(\.change.replyKeys)).sorted()
    }

    /// The statements that read the flows, the version above which those without a row start, what the accounts store and,
    /// if there are keys, their stored replies.
    private static func reads(
        _ flows: Set<FlowID>, _ keys: [ChangeBatch.ReplyKey], _ accounts: Set<String>, locking: Bool
    ) -> [Statement] {
        var statements = [
            ChangeStatements.read(Array(flows), locking: locking), ChangeStatements.floor,
            ChangeStatements.usage(of: accounts),
        ]
        if !keys.isEmpty { statements.append(ChangeStatements.read(keys)) }
        return statements
    }

    /// Enters what the statements of ``reads(_:_:_:locking:)`` returned into the batch. A flow or key without a row is
    /// entered as nonexistent.
    /// - Throws: `epochChanged` if the store's epoch or timeline differs from the batch's epoch.
    private func load(
        _ results: [ResultSet], flows: Set<FlowID>, keys: [ChangeBatch.ReplyKey], accounts: Set<String>,
        into batch: inout ChangeBatch
    ) throws(PoolFailure) {
        do throws(PostgresError) {
            try results[0].check(batch.epoch)
            let floor = results[1].first?.int64(0) ?? 0
            for flow in flows { batch.setStored(nil, of: flow, floor: floor) }
            for row in results[0].rows {
                if let record = try row.record(at: 2) { batch.setStored(record, of: record.head.flow) }
            }
            var usages = Dictionary(uniqueKeysWithValues: accounts.map { ($0, AccountUsage()) })
            for row in results[2].rows { if let account = row.text(0) { usages[account] = row.usage(at: 1) } }
            for (account, usage) in usages { batch.setStored(usage, of: account) }
            self.environment.usageCache.set(usages)
            for key in keys { batch.setStored(nil, for: key) }
            if !keys.isEmpty { for row in results[3].rows { try batch.setStored(row.reply()) } }
        } catch {
            throw PoolFailure(error)
        }
    }

    /// The confirmed flows in the result of ``ChangeStatements/write(_:checked:outbox:)``.
    /// - Throws: `epochChanged` if the store's epoch or timeline differs from the batch's epoch.
    private static func confirmedFlows(_ result: ResultSet, _ batch: ChangeBatch) throws(PoolFailure) -> Set<FlowID> {
        do throws(PostgresError) { try result.check(batch.epoch) } catch { throw PoolFailure(error) }
        return Set(result.rows.compactMap { $0.text(2).flatMap { FlowID($0) } })
    }

    /// Answers the callers of the changes with the failure. Logs the failure, unless it is that the epoch has changed.
    private func fail(_ pending: ArraySlice<PendingChange>, _ failure: PoolFailure) {
        let reason = StoreError(failure)
        if reason != .epochChanged, let count = self.environment.failureLog.add(pending.count) {
            self.environment.logger.warning(
                "Failed to commit changes",
                metadata: ["changes": .stringConvertible(count), "error": "\(failure.error)"])
        }
        for change in pending { change.continuation.resume(returning: .failure(reason)) }
    }
}
