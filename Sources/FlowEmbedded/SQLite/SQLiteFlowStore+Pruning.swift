public import FlowCore
import GRDB

extension SQLiteFlowStore {
    /// Flows that one call looks at in the walk after the start.
    private static let walkSlice = 10_000

    /// Tombstones stay: a version must never mean two things, however long ago the flow was deleted.
    public func prune(_ policy: RetentionPolicy, now: Timestamp) async throws(StoreError) -> Int {
        try await self.walk(policy)
        let epoch = self.epoch
        let trims = self.trims
        do {
            return try await self.write { database in
                try database.check(epoch)
                var left = max(1, policy.batch)
                left -= try database.pruneEvents(before: now.advanced(bySeconds: -policy.historySeconds), limit: left)
                left -= try database.pruneReplies(before: now.advanced(bySeconds: -policy.replySeconds), limit: left)
                for (flow, version) in trims.take(above: policy.historyEvents, limit: left) {
                    if left > 0 {
                        let last = version - Version(policy.historyEvents)
                        left -= try database.pruneEvents(of: flow, through: last, limit: left)
                    }
                    // Once more later: this flow may not be done, or not even have been begun with.
                    if left == 0 { trims.add([(flow, version)]) }
                }
                return max(1, policy.batch) - left
            }
        } catch {
            trims.restart()
            throw error
        }
    }

    /// Goes on with the walk over all flows that follows a start, beside the writer.
    private func walk(_ policy: RetentionPolicy) async throws(StoreError) {
        guard let after = self.trims.walkAfter else { return }
        let (long, last) = try await self.read { database in
            let rows = try database.rows(
                "SELECT id, version FROM flows WHERE id > ? ORDER BY id LIMIT ?",
                [after.databaseValue, Self.walkSlice.databaseValue])
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
            return (long, count < Self.walkSlice ? nil : last)
        }
        self.trims.walked(to: last)
        self.trims.add(long)
    }
}

extension Database {
    /// Removes history from before a moment. What goes is always the beginning of a flow's history: where times are not in
    /// the order of the versions (a clock was set back), an event goes with a later one rather than leave a hole.
    /// - Returns: the number of rows removed.
    fileprivate func pruneEvents(before moment: Timestamp, limit: Int) throws -> Int {
        var left = limit
        // An index entry holds the whole key, so that this reads nothing but the old end of the index.
        let rows = try self.rows(
            """
            SELECT flow_id, max(version) FROM
                (SELECT flow_id, version FROM flow_events WHERE created_at < ? ORDER BY created_at LIMIT ?)
            GROUP BY flow_id
            """, [moment.databaseValue, left.databaseValue])
        var flows: [(FlowID, Version)] = []
        while let row = try rows.next() {
            guard let flow = FlowID(row[0] as String) else { throw UnreadableRow() }
            flows.append((flow, row[1]))
        }
        for (flow, last) in flows where left > 0 { left -= try self.pruneEvents(of: flow, through: last, limit: left) }
        return limit - left
    }

    fileprivate func pruneEvents(of flow: FlowID, through last: Version, limit: Int) throws -> Int {
        let lowest = try self.first(
            "SELECT min(version) FROM flow_events WHERE flow_id = ?", [flow.rawValue.databaseValue]
        ) { $0[0] as Version? }
        guard let first = lowest ?? nil, first <= last else { return 0 }
        try self.run(
            "DELETE FROM flow_events WHERE flow_id = ? AND version BETWEEN ? AND ?",
            [flow.rawValue.databaseValue, first.databaseValue, min(last, first + Version(limit) - 1).databaseValue])
        return self.changesCount
    }

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
