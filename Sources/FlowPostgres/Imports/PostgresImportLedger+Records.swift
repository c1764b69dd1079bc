public import FlowCore

extension PostgresImportLedger {
    public func append(
        _ records: [JSONText], at index: Int, to id: ImportID, account: String, claim: Int64
    ) async throws(StoreError) -> Bool {
        var parameters = ParameterList(capacity: records.reduce(256) { $0 + $1.bytes.count + 4 })
        parameters.add(id.rawValue)
        parameters.add(claim)
        parameters.add(account)
        parameters.add(index)
        parameters.add(records)
        // FOR SHARE: another worker that claims the import waits until these rows are committed and visible to it.
        let sql = """
            WITH held AS MATERIALIZED (
                SELECT i.id, i.client_account_id FROM data_imports i
                WHERE i.id = $1::uuid AND i.claim = $2 AND coalesce(\(ImportSQL.account), '') = $3 FOR SHARE
            ),
            replaced AS (
                DELETE FROM raw_import_records r USING held h
                WHERE r.data_import_id = h.id AND r.record_index >= $4 AND r.record_index < $4 + cardinality($5)
            ),
            added AS (
                INSERT INTO raw_import_records
                    (client_account_id, data_import_id, record_index, is_sample, raw_text, raw_data, created_at)
                SELECT h.client_account_id, h.id, $4 + n.number - 1, false, n.record, hub_as_jsonb(n.record), clock_timestamp()
                FROM held h, unnest($5) WITH ORDINALITY AS n (record, number)
            )
            SELECT count(*) FROM held
            """
        return try await self.run(.imports, Statement(sql, parameters)).first?.int64(0) == 1
    }

    // MARK: Reading

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
        // Both statements in one round trip. If a hub numbered the rows, the second result is the page, whatever the
        // offset.
        let results = try await self.read(
            .imports,
            [Statement(shape, parameters), self.page("r.record_index >= $4", of: id, limit: limit, [Int64(offset)])])
        guard let row = results[0].first else { return [] }
        guard row.bool(0) == true else {
            let page = self.page("true", skips: true, of: id, limit: limit, [Int64(offset)])
            return try await self.read(.imports, [page])[0].records()
        }
        var records = try results[1].records()
        let isTruncated = results[1].first.map { $0.int64(5) != Int64(records.count) } ?? false
        if row.bool(2) == true, records.count < limit, !isTruncated {
            let skipped = max(0, Int64(offset) - (row.int64(1) ?? 0))
            let unnumbered = self.page("r.record_index IS NULL", skips: true, of: id, limit: limit - records.count, [skipped])
            records += try await self.read(.imports, [unnumbered])[0].records()
        }
        return records
    }

    public func records(
        of id: ImportID, after bookmark: RecordBookmark?, limit: Int
    ) async throws(StoreError) -> RecordSlice {
        guard var position = bookmark.map({ RowPosition($0) }) ?? RowPosition.start else {
            throw .unavailable("invalid continuation token")
        }
        var records: [JSONText] = []
        while true {
            var parameters = ParameterList()
            parameters.add(id.rawValue)
            parameters.add(self.limits.pageBytes)
            parameters.add(max(1, limit))
            let sql = RecordSQL.page(position.condition(&parameters))
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

    private func page(
        _ condition: String, skips: Bool = false, of id: ImportID, limit: Int, _ values: [Int64]
    ) -> Statement {
        var parameters = ParameterList()
        parameters.add(id.rawValue)
        parameters.add(self.limits.pageBytes)
        parameters.add(limit)
        for value in values { parameters.add(value) }
        return Statement(RecordSQL.page(condition, skips: skips), parameters)
    }

    public func removeRecords(of id: ImportID, claim: Int64) async throws(StoreError) -> Bool {
        try await self.removeNumbered(of: id, claim: claim, if: "true", withSamples: false)
    }
}

extension ResultSet {
    func records() throws(StoreError) -> [JSONText] {
        var records: [JSONText] = []
        records.reserveCapacity(self.rowCount)
        for row in self.rows { records.append(try row.record()) }
        return records
    }
}
