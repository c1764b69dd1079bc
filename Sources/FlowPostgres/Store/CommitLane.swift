import FlowCore
import Logging
import Synchronization

/// Writes the changes of its share of the flows, one batch after the other: what arrives while a batch is under way is the
/// next one.
///
/// A flow belongs to one lane of the process, so its changes commit and are told in their order. A batch is decided from what
/// the lane remembers of its flows and written by one statement that compares and sets; where another instance was faster, the
/// flows concerned are decided once more under their row locks.
final class CommitLane: Sendable {
    struct Environment: Sendable {
        let pool: PostgresPool
        let keeper: EpochManager
        let limits: ChangeLimits
        let usesOutbox: Bool
        /// Told of every commit before anybody is answered.
        let committed: @Sendable ([Commit]) -> Void
        let logger: Logger
    }

    /// How often a batch is tried under row locks before it is given up.
    private static let maximumTries = 6

    private let environment: Environment
    private let queue: Mutex<CommitQueue>
    /// Used by the one batch that is under way.
    private let known: Mutex<WriterRowCache>
    /// Changes of flows whose rows somebody else holds.
    private let held = Mutex(LockedRowQueue())

    init(_ environment: Environment, queue: consuming CommitQueue, known: WriterRowCache) {
        self.environment = environment
        self.queue = Mutex(queue)
        self.known = Mutex(known)
    }

    func add(_ pending: PendingChange) {
        let mustStart = self.queue.withLock { $0.add(pending) }
        // A task of its own: it works for everybody who waits, not for the one who came first.
        if mustStart { Task { await self.work() } }
    }

    private func work() async {
        repeat {
            let taken = self.queue.withLock { $0.take() }
            // Behind those of its flow that wait for its row already.
            let free = self.held.withLock { held in taken.filter { !held.takeAlong($0) } }
            if !free.isEmpty { await self.write(free) }
        } while self.queue.withLock { $0.finish() }
    }

    func forget() { self.known.withLock { $0.removeAll() } }

    // MARK: From memory

    private func write(_ pending: [PendingChange]) async {
        let again: ArraySlice<PendingChange>
        var seen = SeenVersions(epoch: self.environment.keeper.epoch)
        do throws(PoolFailure) {
            let (batch, checked) = try await self.decide(pending)
            seen = SeenVersions(batch)
            var stood: Set<FlowID> = []
            if batch.hasDirtyRows || !checked.isEmpty {
                let statement = ChangeStatements.write(batch, checked: checked, outbox: self.environment.usesOutbox)
                let result = try await self.environment.pool.run(.changes, [statement], isRepeatable: false)[0]
                stood = try Self.flowsThatStood(result, batch)
            }
            again = await self.settle(pending[...], batch, checked: checked, stood: stood)
        } catch {
            self.forget()
            if !error.mayHaveHappened, error.error.mayConcernOneOperation {
                again = pending[...]
            } else {
                self.fail(pending[...], error)
                return
            }
        }
        if !again.isEmpty { await self.writeLocked(again, seen: seen) }
    }

    /// Decides the changes from what is known, after reading what is not.
    /// - Returns: also the flows that are not written but must still be at these versions, since their decisions rest on
    ///   memory, or a reply is kept.
    private func decide(
        _ pending: [PendingChange]
    ) async throws(PoolFailure) -> (batch: ChangeBatch, checked: [(FlowID, Version)]) {
        var batch = ChangeBatch(epoch: self.environment.keeper.epoch, limits: self.environment.limits)
        var missing: Set<FlowID> = []
        self.known.withLock { known in
            for flow in Set(pending.map(\.change.flow)) {
                if let row = known.record(of: flow) { batch.found(row.record, of: flow) } else { missing.insert(flow) }
            }
        }
        let keys = Self.keys(of: pending[...])
        if !missing.isEmpty || !keys.isEmpty {
            let results = try await self.environment.pool.run(
                .changes, Self.reads(missing, keys, locking: false), isRepeatable: true)
            try Self.takeIn(results, flows: missing, keys: keys, into: &batch)
        }
        for change in pending { batch.decide(change.change) }
        let replied = Set(batch.newReplies.map(\.reply.flow))
        let checked = batch.rows.filter { flow, row in !row.isDirty && (!missing.contains(flow) || replied.contains(flow)) }
        return (batch, checked.map { ($0.key, $0.value.stored?.version ?? 0) })
    }

    // MARK: Under locks

    /// Decides and writes under the flows' row locks, down to single changes where one spoils the others' transaction. What
    /// somebody else holds is put aside.
    /// - Parameter seen: the versions that this process has seen of the flows.
    private func writeLocked(_ pending: ArraySlice<PendingChange>, seen: SeenVersions) async {
        var left = pending
        for _ in 0..<Self.maximumTries where !left.isEmpty {
            let epoch = self.environment.keeper.epoch
            do throws(PoolFailure) {
                left = try await self.transact(left, epoch, seen)
            } catch {
                if error.error == .wentBack {
                    await self.raiseEpoch(from: epoch, left)
                    return
                }
                guard !error.mayHaveHappened, error.error.mayConcernOneOperation else {
                    self.forget()
                    self.fail(left, error)
                    return
                }
                // A flow or a key that somebody else has just made, and not committed yet.
                if error.error.code == .locked, Set(left.map(\.change.flow)).count == 1 {
                    self.hold(Array(left))
                    return
                }
                if left.count > 1 {
                    let middle = left.startIndex + left.count / 2
                    await self.writeLocked(left[..<middle], seen: seen)
                    await self.writeLocked(left[middle...], seen: seen)
                    return
                }
                if error.error.code != .conflict {
                    self.forget()
                    self.fail(left, error)
                    return
                }
            }
        }
        if !left.isEmpty { self.fail(left, PoolFailure(.contended)) }
    }

    /// - Returns: what must be done again: another instance made its flow in this very moment.
    private func transact(
        _ pending: ArraySlice<PendingChange>, _ epoch: Epoch, _ seen: SeenVersions
    ) async throws(PoolFailure) -> ArraySlice<PendingChange> {
        let flows = Set(pending.map(\.change.flow))
        let keys = Self.keys(of: pending)
        let environment = self.environment
        let (batch, checked, stood, heldFlows) = try await environment.pool.withLease(.changes) {
            lease async throws(PoolFailure) in
            var batch = ChangeBatch(epoch: epoch, limits: environment.limits)
            let found = try await lease.begin(
                then: Self.reads(flows, keys, locking: true) + [ChangeStatements.existing(flows)])
            try Self.takeIn(found, flows: flows, keys: keys, into: &batch)
            // Those that are there and were not to be had.
            let existing = found[found.count - 1].rows.compactMap { $0.text(0).flatMap { FlowID($0) } }
            let heldFlows = Set(existing.filter { batch.rows[$0]?.stored == nil })
            // The database was put back to an older copy. What is written from here on must bear another name.
            if seen.isAhead(of: batch, except: heldFlows) { throw PoolFailure(.wentBack) }
            for change in pending where !heldFlows.contains(change.change.flow) { batch.decide(change.change) }
            let checked = Set(batch.newReplies.map(\.reply.flow)).filter { batch.rows[$0]?.isDirty == false }
                .map { ($0, batch.rows[$0]?.stored?.version ?? 0) }
            let statement = ChangeStatements.write(batch, checked: checked, outbox: environment.usesOutbox)
            let results = try await lease.run([statement, Statement("COMMIT")])
            return (batch, checked, try Self.flowsThatStood(results[0], batch), heldFlows)
        }
        if !heldFlows.isEmpty { self.hold(pending.filter { heldFlows.contains($0.change.flow) }) }
        let decided = pending.filter { !heldFlows.contains($0.change.flow) }
        return await self.settle(decided[...], batch, checked: checked, stood: stood)
    }

    // MARK: Held rows

    /// Puts changes aside until their rows are free, or their time is over; the lane goes on with the others.
    private func hold(_ pending: [PendingChange]) {
        let until = ContinuousClock.now + .seconds(self.environment.pool.settings.lockSeconds)
        let mustStart = self.held.withLock { $0.add(pending, until: until) }
        if mustStart { Task { await self.retryHeld() } }
    }

    private func retryHeld() async {
        while true {
            // No connection is held while waiting, so it does not matter how many flows there are.
            try? await Task.sleep(for: LockedRowQueue.pause)
            let (due, expired) = self.held.withLock { $0.take(now: .now) }
            if !expired.isEmpty { self.fail(expired[...], PoolFailure(.rowHeld)) }
            if !due.isEmpty { await self.writeLocked(due[...], seen: SeenVersions(epoch: self.environment.keeper.epoch)) }
            if self.held.withLock({ $0.finish() }) { return }
        }
    }

    /// Nothing was written. Whoever waits tries again under the new name.
    /// - Parameter from: the epoch under which it was found. If it was raised since, that is enough.
    private func raiseEpoch(from epoch: Epoch, _ pending: ArraySlice<PendingChange>) async {
        self.environment.logger.error("The database is behind what was committed; raising the epoch")
        let latest = pending.map(\.change.at).max() ?? Timestamp(milliseconds: 0)
        do throws(PoolFailure) {
            try await self.environment.keeper.raise(from: epoch, now: latest)
            self.fail(pending, PoolFailure(.epochChanged))
        } catch {
            self.fail(pending, PoolFailure(error.error))
        }
    }

    // MARK: Pieces

    /// Tells and answers what is done.
    /// - Returns: the changes whose flows were not as they were thought to be.
    private func settle(
        _ pending: ArraySlice<PendingChange>, _ batch: ChangeBatch, checked: [(FlowID, Version)], stood: Set<FlowID>
    ) async -> ArraySlice<PendingChange> {
        #if DEBUG
        await Failpoint.reach(.afterCommit)
        #endif
        var beaten = Set(checked.lazy.map(\.0).filter { !stood.contains($0) })
        for (flow, row) in batch.rows where row.isDirty && !stood.contains(flow) { beaten.insert(flow) }
        self.known.withLock { known in
            // Under another epoch by now, what was found is of a history that is over.
            if batch.epoch == self.environment.keeper.epoch { known.take(batch.rows) }
            for flow in beaten { known.remove(flow) }
        }
        let commits = beaten.isEmpty ? batch.commits : batch.commits.filter { !beaten.contains($0.record.head.flow) }
        if !commits.isEmpty { self.environment.committed(commits) }
        // A replay of a beaten change's reply is none either.
        var keys: Set<ChangeBatch.ReplyKey> = []
        var again: [PendingChange] = []
        for (change, outcome) in zip(pending, batch.outcomes) {
            let key = change.change.replyKey
            if beaten.contains(change.change.flow) || (key.map(keys.contains) ?? false) {
                if let key { keys.insert(key) }
                again.append(change)
            } else {
                change.answer.resume(returning: .success(outcome))
            }
        }
        return again[...]
    }

    private static func keys(of pending: ArraySlice<PendingChange>) -> [ChangeBatch.ReplyKey] {
        Set(pending.compactMap(\.change.replyKey)).sorted()
    }

    private static func reads(_ flows: Set<FlowID>, _ keys: [ChangeBatch.ReplyKey], locking: Bool) -> [Statement] {
        var statements = [ChangeStatements.read(Array(flows), locking: locking)]
        if !keys.isEmpty { statements.append(ChangeStatements.read(keys)) }
        return statements
    }

    private static func takeIn(
        _ results: [ResultSet], flows: Set<FlowID>, keys: [ChangeBatch.ReplyKey], into batch: inout ChangeBatch
    ) throws(PoolFailure) {
        do throws(PostgresError) {
            try results[0].check(batch.epoch)
            for flow in flows { batch.found(nil, of: flow) }
            for row in results[0].rows {
                if let record = try row.record(at: 2) { batch.found(record, of: record.head.flow) }
            }
            for key in keys { batch.found(nil, for: key) }
            if !keys.isEmpty { for row in results[1].rows { try batch.found(row.reply()) } }
        } catch {
            throw PoolFailure(error)
        }
    }

    private static func flowsThatStood(_ result: ResultSet, _ batch: ChangeBatch) throws(PoolFailure) -> Set<FlowID> {
        do throws(PostgresError) { try result.check(batch.epoch) } catch { throw PoolFailure(error) }
        return Set(result.rows.compactMap { $0.text(2).flatMap { FlowID($0) } })
    }

    private func fail(_ pending: ArraySlice<PendingChange>, _ failure: PoolFailure) {
        let reason = StoreError(failure)
        if reason != .epochChanged {
            self.environment.logger.warning(
                "Changes were not written", metadata: ["changes": "\(pending.count)", "reason": "\(failure.error)"])
        }
        for change in pending { change.answer.resume(returning: .failure(reason)) }
    }
}
