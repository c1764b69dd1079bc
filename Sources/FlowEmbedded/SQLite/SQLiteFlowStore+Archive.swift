public import FlowCore
import GRDB

extension SQLiteFlowStore: FlowArchive {
    /// Reads up to `limit` stored flows, tombstones included, in the order of their ids: those with ids above `after`;
    /// `nil`: from the first flow on.
    public func exportFlows(after: String?, limit: Int) async throws(StoreError) -> [ArchivedFlow] {
        try await self.read { database in
            let rows = try database.rows(
                "SELECT \(Database.headColumns), fence, state, created_at FROM flows WHERE id > ? ORDER BY id LIMIT ?",
                [(after ?? "").databaseValue, limit.databaseValue])
            var flows: [ArchivedFlow] = []
            while let row = try rows.next() {
                let record = FlowRecord(
                    head: try FlowHead(row), state: JSONText(stored: row[7]), fence: JSONText(stored: row[6]))
                flows.append(ArchivedFlow(record: record, createdAt: Timestamp(milliseconds: row[8])))
            }
            return flows
        }
    }

    /// Inserts the flow with its events in one transaction, and raises the fencing sequence at least to the highest
    /// fence of the flow. Changes nothing if a flow with this id exists, or if the flow's version is not above that of an ended
    /// tombstone of its group of ids.
    public func restore(_ flow: ArchivedFlow, events: [FlowEvent]) async throws(StoreError) -> RestoreOutcome {
        let epoch = self.epoch
        return try await self.write { database in
            try database.check(epoch)
            let id = flow.record.head.flow
            if let existing = try database.flow(id) { return flow.outcome(existing: existing) }
            // An ended tombstone of this id may have had any version up to the floor. The ids of a group share it, so a flow
            // with another id may be refused, too; another id or a new store helps.
            let floor = try database.endedVersion(of: id)
            if floor > 0, flow.record.version <= floor { return .conflictingVersion(floor) }
            try database.insert(flow.record)
            try database.run(
                "UPDATE flows SET created_at = ? WHERE id = ?", [flow.createdAt.databaseValue, id.rawValue.databaseValue])
            try database.run("UPDATE hub_meta SET fencing = max(fencing, ?)", [flow.highestFence.databaseValue])
            for event in events { try database.insert(event, of: id) }
            try database.add(
                AccountUsage(from: nil, to: flow.record, events: events), to: flow.record.head.account)
            return .restored
        }
    }

    /// Reads up to `limit` stored replies in the order of accounts and keys, after the reply `after`.
    public func exportReplies(after: ArchivedReply?, limit: Int) async throws(StoreError) -> [ArchivedReply] {
        try await self.read { database in
            let rows = try database.rows(
                """
                SELECT account, key, fingerprint, status, flow_id, versions, created_at FROM idempotency
                WHERE (account, key) > (?, ?) ORDER BY account, key LIMIT ?
                """, [(after?.account ?? "").databaseValue, (after?.key ?? "").databaseValue, limit.databaseValue])
            var replies: [ArchivedReply] = []
            while let row = try rows.next() {
                replies.append(
                    ArchivedReply(
                        account: row[0], key: row[1], fingerprint: row[2], status: row[3], flow: row[4], versions: row[5],
                        createdAt: Timestamp(milliseconds: row[6])))
            }
            return replies
        }
    }

    /// Inserts a reply, unless the account has one under its key.
    public func restore(_ reply: ArchivedReply) async throws(StoreError) -> Bool {
        try await self.write { database in
            try database.run(
                """
                INSERT INTO idempotency (account, key, fingerprint, status, flow_id, versions, created_at)
                VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING
                """,
                [
                    reply.account.databaseValue, reply.key.databaseValue, reply.fingerprint.databaseValue,
                    reply.status.databaseValue, reply.flow.databaseValue, reply.versions.databaseValue,
                    reply.createdAt.databaseValue,
                ])
            return database.changesCount > 0
        }
    }
}
