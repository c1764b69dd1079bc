public import FlowCore

extension PostgresImportLedger {
    /// Makes the import `stored` and releases its claim. If the import's records are rows, the same statement counts
    /// the rows first, and clears a location that another program has written meanwhile; if they are in an object, it
    /// replaces the sample rows.
    /// - Returns: `false`, with nothing changed, if another worker has claimed the import since.
    /// - Throws: `unavailable` if the number of rows differs from the result's; nothing is changed then.
    public func finish(_ id: ImportID, claim: Int64, _ result: ImportResult) async throws(StoreError) -> Bool {
        var parameters = ImportSQL.parameters(id, claim, result)
        parameters.add(result.samples.prefix(Import.sampleRows))
        parameters.add(result.location)
        let sql = """
            WITH held AS MATERIALIZED (
                SELECT i.id, i.client_account_id, $6 IS NULL AS is_rows
                FROM data_imports i WHERE i.id = $1::uuid AND i.claim = $2 FOR NO KEY UPDATE
            ),
            counted AS MATERIALIZED (
                SELECT count(*) AS records, min(r.record_index) AS first, max(r.record_index) AS last
                FROM held h JOIN raw_import_records r ON r.data_import_id = h.id WHERE h.is_rows AND r.record_index IS NOT NULL
            ),
            whole AS MATERIALIZED (
                SELECT h.* FROM held h, counted c
                WHERE NOT h.is_rows OR c.records = $3 AND ($3 = 0 OR c.first = 0 AND c.last = $3 - 1)
            ),
            done AS (
                UPDATE data_imports i SET \(ImportSQL.result),
                    storage_location = CASE WHEN NOT w.is_rows THEN coalesce($10, i.storage_location) END,
                    storage_provider = CASE WHEN w.is_rows THEN '\(self.provider)' ELSE i.storage_provider END
                FROM whole w WHERE i.id = w.id
            ),
            marked AS (
                UPDATE raw_import_records r SET is_sample = true FROM whole w
                WHERE w.is_rows AND r.data_import_id = w.id AND r.record_index < \(Import.sampleRows)
            ),
            replaced AS (
                DELETE FROM raw_import_records r USING whole w
                WHERE NOT w.is_rows AND r.data_import_id = w.id AND r.is_sample AND r.record_index IS NOT NULL
            ),
            added AS (
                INSERT INTO raw_import_records
                    (client_account_id, data_import_id, record_index, is_sample, raw_text, raw_data, created_at)
                SELECT w.client_account_id, w.id, s.number - 1, true, s.record, hub_as_jsonb(s.record), clock_timestamp()
                FROM whole w, unnest($9) WITH ORDINALITY AS s (record, number) WHERE NOT w.is_rows
            )
            SELECT (SELECT count(*) FROM held), (SELECT count(*) FROM whole), (SELECT records FROM counted)
            """
        let seconds = self.limits.wholeImportSeconds
        let row = try await self.run(.imports, Statement(sql, parameters), seconds: seconds).first
        guard row?.int64(0) == 1 else { return false }
        guard row?.int64(1) == 1 else {
            let count = row?.int64(2) ?? 0
            throw .unavailable("import \(id) must have \(result.storage.recordCount) rows without gaps, but has \(count) rows")
        }
        return true
    }

    /// Replaces what the ledger says about the import's storage, if its claim and its location are still these. Rows and
    /// objects are not changed.
    /// - Returns: `false`, with nothing changed, if another worker has claimed the import since, or if another program has
    ///   changed its location.
    public func correct(
        _ id: ImportID, claim: Int64, from recorded: String?, to location: String?, provider: String, _ result: ImportResult
    ) async throws(StoreError) -> Bool {
        var parameters = ImportSQL.parameters(id, claim, result)
        parameters.add(recorded)
        parameters.add(location)
        parameters.add(provider)
        let sql = """
            UPDATE data_imports i SET \(ImportSQL.result), storage_location = $10, storage_provider = $11
            WHERE i.id = $1::uuid AND i.claim = $2 AND \(ImportSQL.location) IS NOT DISTINCT FROM $9 RETURNING 1
            """
        return try await self.change(Statement(sql, parameters)).rowCount == 1
    }

    /// Makes the import `failed`. Deletes the rows that a hub wrote: most in batches of one transaction each, the rest
    /// in the transaction that sets the status. Clears the location, so an object there becomes an orphan.
    /// - Returns: `false` if another worker has claimed the import since, or if it is neither `pending` nor `failed`.
    public func fail(_ id: ImportID, claim: Int64, reason: String) async throws(StoreError) -> Bool {
        let isOpen = "i.status IN ('pending', 'failed')"
        guard try await self.removeNumbered(of: id, claim: claim, if: isOpen, withSamples: true) else { return false }
        var parameters = ParameterList()
        parameters.add(id.rawValue)
        parameters.add(claim)
        parameters.add(reason)
        let sql = """
            WITH held AS MATERIALIZED (
                SELECT i.id FROM data_imports i WHERE i.id = $1::uuid AND i.claim = $2 AND \(isOpen) FOR NO KEY UPDATE
            ),
            gone AS (
                DELETE FROM raw_import_records r USING held h WHERE r.data_import_id = h.id AND r.record_index IS NOT NULL
            ),
            done AS (
                UPDATE data_imports i SET status = 'failed', failure = $3, storage_location = NULL, storage_metadata = NULL,
                    member_index = NULL, encryption = NULL, idempotency_key = NULL, claimed_until = NULL, updated_at = clock_timestamp()
                FROM held h WHERE i.id = h.id
            )
            SELECT count(*) FROM held
            """
        return try await self.run(.imports, Statement(sql, parameters)).first?.int64(0) == 1
    }

    /// Deletes the import and all its rows, those of the legacy service included. Rows are deleted in batches.
    /// - Returns: `false` if another worker has claimed the import since.
    public func remove(_ id: ImportID, claim: Int64) async throws(StoreError) -> Bool {
        var parameters = ParameterList()
        parameters.add(id.rawValue)
        parameters.add(claim)
        // The status `deleting` hides the import from lists. If the process ends before the deletion does, the next
        // import sweep continues it.
        let deleting = """
            UPDATE data_imports SET status = 'deleting', idempotency_key = NULL, updated_at = clock_timestamp()
            WHERE id = $1::uuid AND claim = $2 RETURNING 1
            """
        guard try await self.change(Statement(deleting, parameters), isRetryable: true).rowCount == 1,
            try await self.removeNumbered(of: id, claim: claim, if: "true", withSamples: true),
            try await self.removeUnnumbered(of: id, claim: claim)
        else { return false }
        let sql = """
            WITH held AS MATERIALIZED (
                SELECT i.id FROM data_imports i WHERE i.id = $1::uuid AND i.claim = $2 FOR UPDATE
            ),
            gone AS (DELETE FROM raw_import_records r USING held h WHERE r.data_import_id = h.id),
            done AS (DELETE FROM data_imports i USING held h WHERE i.id = h.id)
            SELECT count(*) FROM held
            """
        return try await self.run(.imports, Statement(sql, parameters)).first?.int64(0) == 1
    }

    // MARK: Rows in batches

    /// Deletes rows that have a number, in batches of one transaction each. Each batch verifies the claim.
    /// - Parameters:
    ///   - condition: an SQL condition on the import `i`, verified by each batch as well.
    ///   - withSamples: whether to delete sample rows too, and rows that another program has numbered.
    /// - Returns: `false` if the claim was lost or the condition is not met. Batches before that stay deleted.
    func removeNumbered(
        of id: ImportID, claim: Int64, if condition: String, withSamples: Bool
    ) async throws(StoreError) -> Bool {
        var parameters = ParameterList()
        parameters.add(id.rawValue)
        let span = """
            SELECT min(record_index)::bigint, max(record_index)::bigint FROM raw_import_records WHERE data_import_id = $1::uuid
            """
        let row = try await self.read(.imports, [Statement(span, parameters)])[0].first
        // Each batch is a range of record numbers. If a batch were the first rows that still exist instead, it would
        // scan the index entries of all rows deleted before, which stay in the index until a vacuum.
        var next = row?.int64(0) ?? 0
        let last = row?.int64(1) ?? 0
        repeat {
            var parameters = ParameterList()
            parameters.add(id.rawValue)
            parameters.add(claim)
            parameters.add(next)
            parameters.add(next + Int64(self.limits.removedRows))
            let sql = """
                WITH held AS MATERIALIZED (
                    SELECT i.id FROM data_imports i WHERE i.id = $1::uuid AND i.claim = $2 AND \(condition) FOR SHARE
                ),
                gone AS (
                    DELETE FROM raw_import_records r USING held h
                    WHERE r.data_import_id = h.id AND r.record_index >= $3 AND r.record_index < $4
                        \(withSamples ? "" : "AND r.is_sample IS NOT TRUE AND (\(RecordSQL.isReplaceable))")
                )
                SELECT count(*) FROM held
                """
            let result = try await self.run(.imports, Statement(sql, parameters), isRetryable: true)
            guard result.first?.int64(0) == 1 else { return false }
            next += Int64(self.limits.removedRows)
        } while next <= last
        return true
    }

    /// Deletes the rows that the legacy service wrote, which have no number, in batches of one transaction each.
    /// - Returns: `false` if the claim was lost. Batches before that stay deleted.
    private func removeUnnumbered(of id: ImportID, claim: Int64) async throws(StoreError) -> Bool {
        var parameters = ParameterList()
        parameters.add(id.rawValue)
        parameters.add(claim)
        parameters.add(self.limits.removedRows)
        let sql = """
            WITH held AS MATERIALIZED (
                SELECT i.id FROM data_imports i WHERE i.id = $1::uuid AND i.claim = $2 FOR SHARE
            ),
            gone AS (
                DELETE FROM raw_import_records WHERE ctid = ANY (ARRAY (
                    SELECT r.ctid FROM raw_import_records r JOIN held h ON r.data_import_id = h.id
                    WHERE r.record_index IS NULL LIMIT $3))
                RETURNING 1
            )
            SELECT (SELECT count(*) FROM held), (SELECT count(*) FROM gone)
            """
        while true {
            let row = try await self.run(.imports, Statement(sql, parameters), isRetryable: true).first
            guard row?.int64(0) == 1 else { return false }
            if (row?.int64(1) ?? 0) < Int64(self.limits.removedRows) { return true }
        }
    }
}
