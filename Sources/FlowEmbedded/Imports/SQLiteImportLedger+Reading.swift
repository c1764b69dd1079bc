public import FlowCore
import GRDB

extension SQLiteImportLedger {
    /// Reads the import; `nil` if it does not exist.
    public func load(_ id: ImportID) async throws(StoreError) -> Import? {
        try await self.store.read(checksEpoch: false) { try $0.entry(id) }
    }

    /// Reads the gzip member index of the import's object; `nil` if the import does not exist or its records are rows.
    public func index(of id: ImportID) async throws(StoreError) -> GzipMemberIndex? {
        try await self.store.read(checksEpoch: false) { database in
            let text = try database.first("SELECT member_index FROM data_imports WHERE id = ?", [id.rawValue.databaseValue]) {
                $0[0] as String?
            }
            guard let text = text ?? nil else { return nil }
            return GzipMemberIndex(JSONText(stored: text))
        }
    }

    /// Reads the import's sample rows in order.
    public func samples(of id: ImportID) async throws(StoreError) -> [JSONText] {
        try await self.store.read(checksEpoch: false) { database in
            guard let span = try database.recordRows(id)?.span else { return [] }
            let rows = try database.rows(
                "SELECT raw_text FROM raw_import_records WHERE place >= ? AND place < ? AND is_sample ORDER BY place",
                [span.first.databaseValue, span.rowKey(at: Import.sampleRows).databaseValue])
            var samples: [JSONText] = []
            while let row = try rows.next() { samples.append(JSONText(stored: row[0])) }
            return samples
        }
    }

    /// Reads a list page of an account's imports, the newest first. Empty if the import in ``ImportQuery/after`` does
    /// not exist.
    public func list(_ query: ImportQuery) async throws(StoreError) -> ImportList {
        try await self.store.read(checksEpoch: false) { database in
            var conditions = ["account = ?", "status <> 'deleting'"]
            var arguments = [query.account.databaseValue]
            if let flow = query.flow {
                conditions.append("flow_id = ?")
                arguments.append(flow.rawValue.databaseValue)
            }
            if let status = query.status {
                conditions.append("status = ?")
                arguments.append(status.rawValue.databaseValue)
            }
            if let after = query.after {
                guard let last = try database.entry(after) else { return ImportList(imports: [], hasMore: false) }
                conditions.append("(created_at, id) < (?, ?)")
                arguments += [last.createdAt.databaseValue, last.id.rawValue.databaseValue]
            }
            let limit = max(1, query.limit)
            // One row more than requested shows whether there are more.
            arguments.append((limit + 1).databaseValue)
            var imports = try database.entries(
                "WHERE \(conditions.joined(separator: " AND ")) ORDER BY created_at DESC, id DESC LIMIT ?", arguments)
            let hasMore = imports.count > limit
            if hasMore { imports.removeLast() }
            return ImportList(imports: imports, hasMore: hasMore)
        }
    }

    // MARK: Maintenance

    /// Reads up to `limit` imports of all accounts in the order of their ids: those with ids above `after`; `nil`: from
    /// the first.
    public func imports(after: ImportID?, limit: Int) async throws(StoreError) -> [Import] {
        try await self.store.read(checksEpoch: false) { database in
            try database.entries(
                "WHERE id > ? ORDER BY id LIMIT ?", [(after?.rawValue ?? "").databaseValue, max(1, limit).databaseValue])
        }
    }

    /// Reads up to `limit` `pending` and `deleting` imports on which no worker holds a claim, or only an
    /// expired one. Before that, deletes the detached rows that remain from an interrupted deletion.
    public func abandoned(limit: Int) async throws(StoreError) -> [Import] {
        await self.deleteDetachedRowsInBatches()
        return try await self.open("status IN ('pending', 'deleting')", limit: limit)
    }

    /// Reads up to `limit` `stored` and `failed` imports without a valid claim whose import event is not marked as
    /// published.
    public func unannounced(limit: Int) async throws(StoreError) -> [Import] {
        try await self.open("announced_at IS NULL AND status IN ('stored', 'failed')", limit: limit)
    }

    /// Reads up to `limit` imports without a valid claim: first those that nobody has tried to clean up, the longest unchanged
    /// first; then those whose last attempt, which left an expired claim, is longest ago. So imports that cannot be cleaned up
    /// never keep the others from their turn.
    /// - Parameter condition: an SQL condition. It must imply the condition of the index `data_imports_open`.
    private func open(_ condition: String, limit: Int) async throws(StoreError) -> [Import] {
        try await self.store.read(checksEpoch: false) { database in
            try database.entries(
                """
                WHERE (status IN ('pending', 'deleting') OR announced_at IS NULL) AND \(condition)
                    AND (claimed_until IS NULL OR claimed_until <= ?)
                ORDER BY claimed_until NULLS FIRST, updated_at LIMIT ?
                """, [try database.clock().databaseValue, max(1, limit).databaseValue])
        }
    }

    /// Reads unclaimed failed imports that failed before a moment.
    public func failed(before moment: Timestamp, limit: Int) async throws(StoreError) -> [Import] {
        try await self.store.read(checksEpoch: false) { database in
            try database.entries(
                """
                WHERE status = 'failed' AND updated_at < ? AND (claimed_until IS NULL OR claimed_until <= ?)
                ORDER BY updated_at LIMIT ?
                """,
                [moment.databaseValue, try database.clock().databaseValue, max(1, limit).databaseValue])
        }
    }

    /// Stores the time at which the import's event was published.
    public func markAnnounced(_ id: ImportID) async throws(StoreError) {
        try await self.store.write { database in
            try database.run(
                "UPDATE data_imports SET announced_at = ? WHERE id = ?",
                [try database.clock().databaseValue, id.rawValue.databaseValue])
        }
    }

    /// Whether an import, besides the given one, has this object key as its location.
    public func isReferenced(_ key: String, besides id: ImportID?) async throws(StoreError) -> Bool {
        try await self.store.read(checksEpoch: false) { database in
            try database.first(
                "SELECT 1 FROM data_imports WHERE storage_location = ? AND id <> ?",
                [key.databaseValue, (id?.rawValue ?? "").databaseValue]
            ) { _ in true } ?? false
        }
    }
}
