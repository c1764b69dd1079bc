public import FlowCore
import GRDB

/// The counts of what accounts store, and the versions of flows whose tombstones have ended.
extension Database {
    /// Reads what the account stores.
    func usage(of account: String) throws -> AccountUsage {
        try self.first(
            """
            SELECT flows, ids, state_bytes, history_bytes, revocations, imports FROM account_usage WHERE account = ?
            """, [account.databaseValue], AccountUsage.init) ?? AccountUsage()
    }

    /// Adds a difference to what the account stores. Triggers of the schema count revocations and imports.
    func add(_ growth: AccountUsage, to account: String) throws {
        try self.run(
            """
            INSERT INTO account_usage (account, flows, ids, state_bytes, history_bytes) VALUES (?, ?, ?, ?, ?)
            ON CONFLICT (account) DO UPDATE SET flows = flows + excluded.flows, ids = ids + excluded.ids,
                state_bytes = state_bytes + excluded.state_bytes, history_bytes = history_bytes + excluded.history_bytes
            """,
            [
                account.databaseValue, growth.flows.databaseValue, growth.ids.databaseValue, growth.stateBytes.databaseValue,
                growth.historyBytes.databaseValue,
            ])
    }

    // MARK: Ended tombstones

    /// The version above which a flow starts that has no row: the highest version of any tombstone that has ended. It is the
    /// same for all ids, so that it does not tell which of them were used.
    func floorOfNewFlows() throws -> Version {
        try self.first("SELECT max(version) FROM ended_versions", []) { $0[0] as Version? }.flatMap(\.self) ?? 0
    }

    /// A version that is not below that of any tombstone with this id that has ended.
    func endedVersion(of flow: FlowID) throws -> Version {
        try self.first(
            "SELECT version FROM ended_versions WHERE bucket = ?", [Self.bucket(of: flow).databaseValue]
        ) { $0[0] as Version } ?? 0
    }

    /// Deletes up to `limit` tombstones of flows that were deleted before a moment and have no events any more. Their ids are
    /// free then.
    /// - Returns: the number of deleted rows.
    func pruneTombstones(before moment: Timestamp, limit: Int) throws -> Int {
        guard limit > 0 else { return 0 }
        let rows = try self.rows(
            """
            SELECT \(Self.headColumns), fence, state FROM flows WHERE deleted_at < ?
                AND NOT EXISTS (SELECT 1 FROM flow_events WHERE flow_id = flows.id)
            ORDER BY deleted_at LIMIT ?
            """, [moment.databaseValue, limit.databaseValue])
        var ended: [FlowRecord] = []
        while let row = try rows.next() {
            ended.append(
                FlowRecord(head: try FlowHead(row), state: JSONText(stored: row[7]), fence: JSONText(stored: row[6])))
        }
        for record in ended {
            let flow = record.head.flow
            try self.run(
                """
                INSERT INTO ended_versions (bucket, version) VALUES (?, ?)
                ON CONFLICT (bucket) DO UPDATE SET version = max(version, excluded.version)
                """, [Self.bucket(of: flow).databaseValue, record.version.databaseValue])
            try self.run("DELETE FROM flows WHERE id = ?", [flow.rawValue.databaseValue])
            var growth = AccountUsage()
            growth.ids = -1
            growth.stateBytes = -record.storedBytes
            try self.add(growth, to: record.head.account)
        }
        return ended.count
    }

    /// The group of an id in `ended_versions`: FNV-1a of its bytes, reduced to 16 bits. It must never change.
    private static func bucket(of flow: FlowID) -> Int {
        var hash: UInt32 = 2_166_136_261
        for byte in flow.rawValue.utf8 { hash = (hash ^ UInt32(byte)) &* 16_777_619 }
        return Int(hash >> 16 ^ hash & 0xffff)
    }
}

extension AccountUsage {
    /// Decodes the columns `flows, ids, state_bytes, history_bytes, revocations, imports`.
    init(_ row: Row) {
        self.init()
        self.flows = row[0]
        self.ids = row[1]
        self.stateBytes = row[2]
        self.historyBytes = row[3]
        self.revocations = row[4]
        self.imports = row[5]
    }
}

extension SQLiteFlowStore {
    /// Reads what the account stores.
    public func usage(of account: String) async throws(StoreError) -> AccountUsage {
        try await self.read { try $0.usage(of: account) }
    }

    /// Reads for each resource the highest count of any account.
    public func highestUsage() async throws(StoreError) -> AccountUsage {
        try await self.read { database in
            try database.first(
                """
                SELECT coalesce(max(flows), 0), coalesce(max(ids), 0), coalesce(max(state_bytes), 0),
                    coalesce(max(history_bytes), 0), coalesce(max(revocations), 0), coalesce(max(imports), 0)
                FROM account_usage
                """, [], AccountUsage.init) ?? AccountUsage()
        }
    }
}
