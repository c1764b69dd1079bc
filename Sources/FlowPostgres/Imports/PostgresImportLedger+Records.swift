public import FlowCore

extension PostgresImportLedger {
    /// Inserts the records as rows, numbered from `index` on. Sample rows and rows of hubs with the same numbers are replaced.
    /// - Returns: `false`, with nothing inserted, if another worker has claimed the import since.
    public func append(
        _ records: [JSONText], at index: Int, to id: ImportID, account: String, claim: Int64
    ) async throws(StoreError) -> Bool {
        var parameters = ParameterList(capacity: records.reduce(256) { $0 + $1.bytes.count + 4 })
        parameters.add(id.rawValue)
        parameters.add(claim)
        parameters.add(account)
        parameters.add(index)
        parameters.add(records)
        // The legacy service reads rows in the order of `created_at`, so each row gets a later one than the row before it. A
        // batch takes longer than a microsecond for each row, so the next batch begins later.
        // FOR SHARE: another worker that claims the import waits until these rows are committed and visible to it.
        let sql = """
            WITH held AS MATERIALIZED (
                SELECT i.id, i.client_account_id FROM data_imports i
                WHERE i.id = $1::uuid AND i.claim = $2 AND coalesce(\(ImportSQL.account), '') = $3 FOR SHARE
            ),
            replaced AS (
                DELETE FROM raw_import_records r USING held h
                WHERE r.data_import_id = h.id AND r.record_index >= $4 AND r.record_index < $4 + cardinality($5)
                    AND (\(RecordSQL.isReplaceable))
            ),
            added AS (
                INSERT INTO raw_import_records
                    (client_account_id, data_import_id, record_index, is_sample, raw_text, raw_data, created_at)
                SELECT h.client_account_id, h.id, $4 + n.number - 1, false, n.record, hub_as_jsonb(n.record),
                    statement_timestamp() + n.number * interval '1 microsecond'
                FROM held h, unnest($5) WITH ORDINALITY AS n (record, number)
            )
            SELECT count(*) FROM held
            """
        return try await self.run(.imports, Statement(sql, parameters)).first?.int64(0) == 1
    }

    // MARK: Reading

    /// Reads up to `limit` records and about 1 MiB, in order, from number `offset` on. If the rows have no numbers, or
    /// numbers with gaps, skips the first `offset` rows instead.
    public func records(of id: ImportID, offset: Int, limit: Int) async throws(StoreError) -> [JSONText] {
        let (offset, limit) = (max(0, offset), max(1, limit))
        var parameters = ParameterList()
        parameters.add(id.rawValue)
        let shape = """
            SELECT \(ImportSQL.isNumbered),
                (SELECT max(record_index) + 1::bigint FROM raw_import_records WHERE data_import_id = i.id),
                EXISTS (SELECT 1 FROM raw_import_records WHERE data_import_id = i.id AND record_index IS NULL)
            FROM data_imports i WHERE i.id = $1::uuid
            """
        // Both statements in one round trip: if the rows have numbers without gaps, the second result is already the
        // page of records. Otherwise it is discarded, and rows are skipped by count.
        let results = try await self.read(
            .imports,
            [Statement(shape, parameters), self.page("r.record_index >= $4", of: id, limit: limit, [Int64(offset)])])
        guard let row = results[0].first else { return [] }
        guard row.bool(0) == true else {
            let page = self.page("true", skips: true, of: id, limit: limit, [Int64(offset)])
            return try await self.read(.imports, [page])[0].records()
        }
        var records = try results[1].records()
        // Whether the limit of bytes ended the page before `limit` records.
        let isTruncated = results[1].first.map { $0.int64(5) != Int64(records.count) } ?? false
        if row.bool(2) == true, records.count < limit, !isTruncated {
            let skipped = max(0, Int64(offset) - (row.int64(1) ?? 0))
            let unnumbered = self.page("r.record_index IS NULL", skips: true, of: id, limit: limit - records.count, [skipped])
            records += try await self.read(.imports, [unnumbered])[0].records()
        }
        return records
    }

    /// Reads the next records after the bookmark. Each call starts at the bookmark's position in an index of the rows,
    /// so its cost does not depend on how many records precede the bookmark.
    public func records(
        of id: ImportID, after bookmark: RecordBookmark?, limit: Int
    ) async throws(StoreError) -> RecordSlice {
        guard var position = bookmark.map({ RowPosition($0) }) ?? RowPosition.start else {
            throw .unavailable("invalid continuation token of the records of import \(id)")
        }
        var records: [JSONText] = []
        while true {
            var parameters = ParameterList()
            parameters.add(id.rawValue)
            parameters.add(self.limits.pageBytes)
            parameters.add(max(1, limit))
            let sql = RecordSQL.page(position.conditions(&parameters))
            let result = try await self.read(.imports, [Statement(sql, parameters)])[0]
            records += try result.records()
            if let last = result.last {
                position = position.after(last)
                return RecordSlice(records: records, next: position.bookmark)
            }
            guard let next = position.nextKind else { return RecordSlice(records: records, next: nil) }
            position = next
        }
    }

    /// Creates the statement of ``RecordSQL/page(_:skips:)``.
    /// - Parameters:
    ///   - condition: an SQL condition on the rows `r`.
    ///   - skips: whether to skip rows, as many as the first of `values` says.
    ///   - values: the parameters from `$4` on.
    private func page(
        _ condition: String, skips: Bool = false, of id: ImportID, limit: Int, _ values: [Int64]
    ) -> Statement {
        var parameters = ParameterList()
        parameters.add(id.rawValue)
        parameters.add(self.limits.pageBytes)
        parameters.add(limit)
        for value in values { parameters.add(value) }
        return Statement(RecordSQL.page([condition], skips: skips), parameters)
    }

    /// Deletes the rows that a hub wrote, except sample rows, in batches.
    /// - Returns: `false` if another worker has claimed the import since.
    public func removeRecords(of id: ImportID, claim: Int64) async throws(StoreError) -> Bool {
        try await self.removeNumbered(of: id, claim: claim, if: "true", withSamples: false)
    }
}

extension ResultSet {
    /// Decodes the records of all rows.
    func records() throws(StoreError) -> [JSONText] {
        var records: [JSONText] = []
        records.reserveCapacity(self.rowCount)
        for row in self.rows { records.append(try row.record()) }
        return records
    }
}
