public import FlowCore
import GRDB

extension SQLiteFlowStore {
    /// Maximum number of flows that one call of ``prune(_:now:)`` reads in the scan of all flows. The scan runs once
    /// after the start of the process, spread over several calls.
    private static let scanBatchSize = 10_000

    /// Deletes old events, stored replies, revocations and tombstones, at most `policy.batch` rows per call.
    /// - Returns: the number of deleted rows.
    public func prune(_ policy: RetentionPolicy, now: Timestamp) async throws(StoreError) -> Int {
        try await self.scan(policy)
        let epoch = self.epoch
        let pruneCandidates = self.pruneCandidates
        do {
            return try await self.write { database in
                try database.check(epoch)
                var remaining = max(1, policy.batch)
                remaining -= try database.pruneEvents(before: now.advanced(bySeconds: -policy.historySeconds), limit: remaining)
                remaining -= try database.pruneReplies(before: now.advanced(bySeconds: -policy.replySeconds), limit: remaining)
                if policy.revocationSeconds > 0 {
                    remaining -= try database.pruneRevocations(
                        before: now.seconds - policy.revocationSeconds, limit: remaining)
                }
                if policy.tombstoneSeconds > 0 {
                    remaining -= try database.pruneTombstones(
                        before: now.advanced(bySeconds: -policy.tombstoneSeconds), limit: remaining)
                }
                for (flow, version) in pruneCandidates.nextBatch(above: policy.historyEvents, limit: remaining) {
                    if remaining > 0 {
                        let last = version - Version(policy.historyEvents)
                        remaining -= try database.pruneEvents(of: flow, through: last, limit: remaining)
                    }
                    // The flow remains a candidate: the limit of rows was reached, so some of its old events may still
                    // exist.
                    if remaining == 0 { pruneCandidates.add([(flow, version)]) }
                }
                return max(1, policy.batch) - remaining
            }
        } catch {
            pruneCandidates.restart()
            throw error
        }
    }

    /// Continues the scan of all flows, which runs once after the start of the process: reads the next flows on a
    /// reader connection, and adds those that may have too many events to the prune candidates. Does nothing when the
    /// scan is complete.
    private func scan(_ policy: RetentionPolicy) async throws(StoreError) {
        guard let after = self.pruneCandidates.scanCursor else { return }
        let (long, last) = try await self.read { database in
            let rows = try database.rows(
                "SELECT id, version FROM flows WHERE id > ? ORDER BY id LIMIT ?",
                [after.databaseValue, Self.scanBatchSize.databaseValue])
            var long: [(FlowID, Version)] = []
            var last: String?
            var count = 0
            while let row = try rows.next() {
                count += 1
                guard let flow = FlowID(row[0] as String) else { throw UnreadableRow() }
                last = flow.rawValue
                let version: Version = row[1]
                if version > policy.historyEvents { long.append((flow, version)) }
            }
            return (long, count < Self.scanBatchSize ? nil : last)
        }
        self.pruneCandidates.advanceScan(to: last)
        self.pruneCandidates.add(long)
    }
}

extension Database {
    /// Deletes up to `limit` events that are older than a moment. Of each flow, only the beginning of the history is
    /// deleted, so that no gap appears: if a clock was set back, events with lower versions are deleted along with an
    /// old one, even if their times are newer.
    /// - Returns: the number of deleted rows.
    fileprivate func pruneEvents(before moment: Timestamp, limit: Int) throws -> Int {
        var remaining = limit
        // The index on `created_at` also contains the primary key, so the query reads only the oldest entries of the
        // index and no row of the table.
        let rows = try self.rows(
            """
            SELECT flow_id, max(version) FROM
                (SELECT flow_id, version FROM flow_events WHERE created_at < ? ORDER BY created_at LIMIT ?)
            GROUP BY flow_id
            """, [moment.databaseValue, remaining.databaseValue])
        var flows: [(FlowID, Version)] = []
        while let row = try rows.next() {
            guard let flow = FlowID(row[0] as String) else { throw UnreadableRow() }
            flows.append((flow, row[1]))
        }
        for (flow, last) in flows where remaining > 0 {
            remaining -= try self.pruneEvents(of: flow, through: last, limit: remaining)
        }
        return limit - remaining
    }

    /// Deletes up to `limit` of the flow's events, the lowest versions first, up to and including the version `last`.
    /// - Returns: the number of deleted rows.
    fileprivate func pruneEvents(of flow: FlowID, through last: Version, limit: Int) throws -> Int {
        let lowest = try self.first(
            "SELECT min(version) FROM flow_events WHERE flow_id = ?", [flow.rawValue.databaseValue]
        ) { $0[0] as Version? }
        guard let first = lowest ?? nil, first <= last else { return 0 }
        let range = [flow.rawValue.databaseValue, first.databaseValue, min(last, first + Version(limit) - 1).databaseValue]
        let bytes = try self.first(
            """
            SELECT sum(length(CAST(payload AS BLOB)) + \(FlowEvent.overheadBytes)) FROM flow_events
            WHERE flow_id = ? AND version BETWEEN ? AND ?
            """, range
        ) { $0[0] as Int }
        try self.run("DELETE FROM flow_events WHERE flow_id = ? AND version BETWEEN ? AND ?", range)
        let count = self.changesCount
        let account = try self.first(
            "SELECT client_account_id FROM flows WHERE id = ?", [flow.rawValue.databaseValue]
        ) { $0[0] as String }
        if let account, let bytes {
            var growth = AccountUsage()
            growth.historyBytes = -bytes
            try self.add(growth, to: account)
        }
        return count
    }

    /// Deletes up to `limit` revocations whose `notBefore` is below the given time and that were stored before it, the oldest
    /// first.
    /// - Returns: the number of deleted rows.
    fileprivate func pruneRevocations(before seconds: Int64, limit: Int) throws -> Int {
        guard limit > 0 else { return 0 }
        try self.run(
            """
            DELETE FROM revocations WHERE (account, subject) IN
                (SELECT account, subject FROM revocations WHERE not_before < ? AND created_at < ? ORDER BY not_before LIMIT ?)
            """, [seconds.databaseValue, (seconds * 1_000).databaseValue, limit.databaseValue])
        return self.changesCount
    }

    /// Deletes up to `limit` stored replies that are older than a moment, the oldest first.
    /// - Returns: the number of deleted rows.
    fileprivate func pruneReplies(before moment: Timestamp, limit: Int) throws -> Int {
        guard limit > 0 else { return 0 }
        try self.run(
            """
            DELETE FROM idempotency WHERE (account, key) IN
                (SELECT account, key FROM idempotency WHERE created_at < ? ORDER BY created_at LIMIT ?)
            """, [moment.databaseValue, limit.databaseValue])
        return self.changesCount
    }
}
