public import FlowCore

extension PostgresImportLedger {
    /// Reads the import; `nil` if it does not exist.
    public func load(_ id: ImportID) async throws(StoreError) -> Import? {
        try await self.read("SELECT \(ImportSQL.columns) FROM data_imports i WHERE i.id = $1::uuid", of: id).entry()
    }

    /// Reads the gzip member index of the import's object; `nil` if the import does not exist or its records are rows, or if
    /// the column has no valid index. The object is then read from its start.
    public func index(of id: ImportID) async throws(StoreError) -> GzipMemberIndex? {
        let result = try await self.read("SELECT member_index FROM data_imports WHERE id = $1::uuid", of: id)
        return result.first?.json(0).flatMap { GzipMemberIndex($0) }
    }

    /// Reads the import's sample rows in order.
    public func samples(of id: ImportID) async throws(StoreError) -> [JSONText] {
        var parameters = ParameterList()
        parameters.add(id.rawValue)
        let sql = """
            SELECT r.raw_text, \(RecordSQL.foreignText) FROM raw_import_records r WHERE r.data_import_id = $1::uuid AND r.is_sample
            ORDER BY \(RecordSQL.order) LIMIT \(Import.sampleRows)
            """
        return try await self.read(.imports, [Statement(sql, parameters)])[0].records()
    }

    /// Reads a list page of an account's imports, the newest first. Empty if the import in ``ImportQuery/after`` does
    /// not exist.
    public func list(_ query: ImportQuery) async throws(StoreError) -> ImportList {
        var parameters = ParameterList()
        parameters.add(query.account)
        var conditions = ["\(ImportSQL.account) = $1", "\(ImportSQL.status) <> 'deleting'"]
        if let flow = query.flow {
            parameters.add(flow.rawValue)
            conditions.append("\(ImportSQL.flow) = $\(parameters.count)")
        }
        if let status = query.status {
            parameters.add(status.rawValue)
            conditions.append("\(ImportSQL.status) = $\(parameters.count)")
        }
        var last = ""
        if let after = query.after {
            parameters.add(after.rawValue)
            last = "JOIN data_imports l ON l.id = $\(parameters.count)::uuid"
            // The legacy service may have left the time NULL; such imports come last.
            conditions.append(
                """
                ((i.created_at, i.id) < (l.created_at, l.id) OR i.created_at IS NULL AND (l.created_at IS NOT NULL OR i.id < l.id))
                """)
        }
        let limit = max(1, query.limit)
        // One row more than requested shows whether there are more.
        parameters.add(limit + 1)
        let sql = """
            SELECT \(ImportSQL.columns) FROM data_imports i \(last) WHERE \(conditions.joined(separator: " AND "))
            ORDER BY i.created_at DESC NULLS LAST, i.id DESC LIMIT $\(parameters.count)
            """
        var imports = try await self.read(Statement(sql, parameters)).entries()
        let hasMore = imports.count > limit
        if hasMore { imports.removeLast() }
        return ImportList(imports: imports, hasMore: hasMore)
    }

    // MARK: Maintenance

    /// Reads up to `limit` imports of all accounts in the order of their ids, from the first id above `after`; `nil`:
    /// from the first import.
    public func imports(after: ImportID?, limit: Int) async throws(StoreError) -> [Import] {
        var parameters = ParameterList()
        parameters.add(max(1, limit))
        if let after { parameters.add(after.rawValue) }
        let sql = """
            SELECT \(ImportSQL.columns) FROM data_imports i \(after == nil ? "" : "WHERE i.id > $2::uuid")
            ORDER BY i.id LIMIT $1
            """
        return try await self.read(Statement(sql, parameters)).entries()
    }

    /// Reads `pending` and `deleting` imports without a valid claim, except those that no hub has ever claimed.
    public func abandoned(limit: Int) async throws(StoreError) -> [Import] {
        try await self.open(
            "i.status IN ('pending', 'deleting') AND i.claim > 0 AND \(ImportSQL.status) IN ('pending', 'deleting')", limit: limit
        )
    }

    /// Reads unclaimed `stored` and `failed` imports whose import event is not marked as published. Imports of the
    /// legacy service have no `account` and are left out.
    public func unannounced(limit: Int) async throws(StoreError) -> [Import] {
        try await self.open(
            "i.account IS NOT NULL AND i.announced_at IS NULL AND \(ImportSQL.status) IN ('stored', 'failed')", limit: limit)
    }

    /// Reads up to `limit` imports without a valid claim: first those that nobody has tried to clean up, the longest unchanged
    /// first; then those whose last attempt, which left an expired claim, is longest ago. So imports that cannot be cleaned up
    /// never keep the others from their turn.
    /// - Parameter condition: an SQL condition on `i`. The condition must imply that of the partial index
    ///   `data_imports_open`, so that Postgres can use the index.
    private func open(_ condition: String, limit: Int) async throws(StoreError) -> [Import] {
        var parameters = ParameterList()
        parameters.add(max(1, limit))
        let sql = """
            SELECT \(ImportSQL.columns) FROM data_imports i WHERE \(condition) AND \(ImportSQL.isUnclaimed)
            ORDER BY i.claimed_until NULLS FIRST, i.updated_at LIMIT $1
            """
        return try await self.read(Statement(sql, parameters)).entries()
    }

    /// Reads unclaimed failed imports that failed before a moment. Imports that are stored whatever their status column has are
    /// left out; the column alone selects the index.
    public func failed(before moment: Timestamp, limit: Int) async throws(StoreError) -> [Import] {
        var parameters = ParameterList()
        parameters.add(max(1, limit))
        parameters.add(moment)
        let sql = """
            SELECT \(ImportSQL.columns) FROM data_imports i
            WHERE i.status = 'failed' AND (\(ImportSQL.status)) = 'failed' AND i.updated_at < $2 AND \(ImportSQL.isUnclaimed)
            ORDER BY i.updated_at LIMIT $1
            """
        return try await self.read(Statement(sql, parameters)).entries()
    }

    /// Stores the time at which the import's event was published.
    public func markAnnounced(_ id: ImportID) async throws(StoreError) {
        var parameters = ParameterList()
        parameters.add(id.rawValue)
        let sql = "UPDATE data_imports SET announced_at = clock_timestamp() WHERE id = $1::uuid"
        _ = try await self.change(Statement(sql, parameters), isRetryable: true)
    }

    /// Reads the encryption of one stored import for each name of an import key.
    public func encryptions() async throws(StoreError) -> [ImportEncryption] {
        let result = try await self.read(Statement(ImportSQL.encryptions))
        return result.rows.compactMap { $0.encryption(0) }.filter(\.isKnown)
    }

    /// Whether an import, besides the given one, has this object key as its location.
    public func isReferenced(_ key: String, besides id: ImportID?) async throws(StoreError) -> Bool {
        var parameters = ParameterList()
        parameters.add(key)
        parameters.add(id?.rawValue)
        let sql = "SELECT 1 FROM data_imports WHERE storage_location = $1 AND ($2::uuid IS NULL OR id <> $2::uuid) LIMIT 1"
        return try await self.read(Statement(sql, parameters)).rowCount > 0
    }

    /// Runs a SELECT on the ledger whose parameter `$1` is the import's id.
    private func read(_ sql: String, of id: ImportID) async throws(StoreError) -> ResultSet {
        var parameters = ParameterList()
        parameters.add(id.rawValue)
        return try await self.read(Statement(sql, parameters))
    }
}
