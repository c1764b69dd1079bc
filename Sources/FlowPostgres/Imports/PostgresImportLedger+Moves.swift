public import FlowCore

extension PostgresImportLedger {
    /// Computes the row digest of the import (the count and the sum of hashes of all rows) in one statement.
    public func digest(of id: ImportID) async throws(StoreError) -> RowDigest {
        var parameters = ParameterList()
        parameters.add(id.rawValue)
        let sql = """
            SELECT count(*), coalesce(sum(\(RecordSQL.hash)), 0)::text FROM raw_import_records r
            WHERE r.data_import_id = $1::uuid
            """
        let seconds = self.limits.wholeImportSeconds
        let result = try await self.read(.imports, [Statement(sql, parameters)], seconds: seconds)[0]
        return result.first?.digest ?? RowDigest(count: 0, sum: "0")
    }

    /// Counts the rows of the import in one statement.
    public func rowCounts(of id: ImportID) async throws(StoreError) -> RowCounts {
        var parameters = ParameterList()
        parameters.add(id.rawValue)
        let sql = """
            SELECT count(*), count(*) FILTER (WHERE r.is_sample), count(r.record_index),
                count(DISTINCT r.record_index) = count(r.record_index) AND coalesce(min(r.record_index), 0) = 0
                    AND coalesce(max(r.record_index), -1) = count(r.record_index) - 1,
                count(r.record_index) FILTER (WHERE NOT (\(RecordSQL.isReplaceable)))
            FROM raw_import_records r WHERE r.data_import_id = $1::uuid
            """
        let seconds = self.limits.wholeImportSeconds
        let row = try await self.read(.imports, [Statement(sql, parameters)], seconds: seconds)[0].first
        return RowCounts(
            rows: Int(row?.int64(0) ?? 0), samples: Int(row?.int64(1) ?? 0), numbered: Int(row?.int64(2) ?? 0),
            isContiguous: row?.bool(3) ?? false, foreign: Int(row?.int64(4) ?? 0))
    }

    /// Deletes all rows except the sample rows, and sets the object as the import's storage, in one transaction.
    /// - Returns: `false`, with nothing changed, if the digest of the rows is not the expected one, if the counts
    ///   differ, if the legacy service moves the import to an object of its own at this moment or has done so, or if another
    ///   worker has claimed the import since.
    public func switchToObject(
        _ id: ImportID, claim: Int64, location: String, provider: String, expecting: RowDigest, _ result: ImportResult
    ) async throws(StoreError) -> Bool {
        // The object must contain every row, because the rows are deleted here.
        guard expecting.count == result.storage.recordCount else { return false }
        let seconds = self.limits.wholeImportSeconds
        var parameters = ImportSQL.parameters(id, claim, result)
        parameters.add(location)
        parameters.add(provider)
        // The import's row is locked only after the deletion, which may take minutes: a lock on it blocks the extension
        // of the claim, and the claim would expire.
        let move = """
            UPDATE data_imports i SET \(ImportSQL.result), storage_location = $9, storage_provider = $10
            WHERE i.id = $1::uuid AND i.claim = $2 AND \(ImportSQL.location) IS NULL RETURNING 1
            """
        do throws(PoolFailure) {
            return try await self.pool.withLease(.imports) { lease async throws(PoolFailure) in
                let found = try await lease.begin(
                    then: [Self.checkClaim(id, claim: claim), Self.deleteAllButFirst(of: id)], seconds: seconds)
                let isSame = found[0].rowCount == 1 && found[1].first?.digest == expecting
                if isSame, result.replacesSamples {
                    _ = try await lease.runUncommitted(Self.replaceSamples(of: id, with: result.samples))
                }
                guard isSame,
                    try await lease.runUncommitted(Statement(move, parameters)).rowCount == 1
                else {
                    _ = try await lease.runUncommitted(Statement("ROLLBACK"))
                    return false
                }
                _ = try await lease.run([Statement("COMMIT")])
                return true
            }
        } catch  where error.error.code == .conflict && !error.mayHaveTakenEffect {
            // A deadlock with a program that changes the rows and then the import's row, as the legacy service's migrate
            // script does. The rows have changed, or would have.
            return false
        } catch {
            throw StoreError(error)
        }
    }

    /// Creates the statement that gives the sample rows another text.
    private static func replaceSamples(of id: ImportID, with samples: [JSONText]) -> Statement {
        var parameters = ParameterList()
        parameters.add(id.rawValue)
        parameters.add(samples.prefix(Import.sampleRows))
        return Statement(
            """
            UPDATE raw_import_records r SET raw_text = s.record, raw_data = hub_as_jsonb(s.record)
            FROM unnest($2) WITH ORDINALITY AS s (record, number)
            WHERE r.data_import_id = $1::uuid AND r.record_index = s.number - 1
            """, parameters)
    }

    /// Creates a statement whose result has one row if the claim is the import's latest, and none otherwise.
    private static func checkClaim(_ id: ImportID, claim: Int64) -> Statement {
        var parameters = ParameterList()
        parameters.add(id.rawValue)
        parameters.add(claim)
        return Statement("SELECT 1 FROM data_imports WHERE id = $1::uuid AND claim = $2", parameters)
    }

    /// Creates the statement that deletes all rows except the sample rows. The result of the statement is one row
    /// digest of the deleted and the kept rows together.
    ///
    /// The statement sees one MVCC snapshot: it neither counts nor deletes a row that is committed while it runs. It
    /// waits for a row that another transaction is changing, and uses the row's new value; it does not count a row that
    /// the other transaction deleted. So the digest covers exactly the rows deleted or kept. The caller rolls back if
    /// the digest differs from the expected one.
    private static func deleteAllButFirst(of id: ImportID) -> Statement {
        var parameters = ParameterList()
        parameters.add(id.rawValue)
        return Statement(
            """
            WITH kept AS MATERIALIZED (
                SELECT k.id, row_number() OVER () - 1 AS number FROM (
                    SELECT r.id FROM raw_import_records r WHERE r.data_import_id = $1::uuid ORDER BY \(RecordSQL.order)
                    LIMIT \(Import.sampleRows)
                ) k
            ),
            gone AS (
                DELETE FROM raw_import_records r WHERE r.data_import_id = $1::uuid AND r.id NOT IN (SELECT k.id FROM kept k)
                RETURNING \(RecordSQL.hash) AS hash
            ),
            marked AS (
                UPDATE raw_import_records r SET is_sample = true, record_index = k.number FROM kept k WHERE r.id = k.id
                RETURNING \(RecordSQL.hash) AS hash
            )
            SELECT count(*), coalesce(sum(hash), 0)::text FROM (SELECT hash FROM gone UNION ALL SELECT hash FROM marked) all_rows
            """, parameters)
    }

    /// Sets the rows as the import's storage in place of its object, and marks the first ones as sample rows.
    /// - Returns: `false`, with nothing changed, if the numbered rows are not `count` many without gaps, or if another
    ///   worker has claimed the import since.
    public func switchToRows(
        _ id: ImportID, claim: Int64, count: Int, _ result: ImportResult
    ) async throws(StoreError) -> Bool {
        guard count == result.storage.recordCount else { return false }
        let sql = """
            WITH held AS MATERIALIZED (
                SELECT i.id FROM data_imports i WHERE i.id = $1::uuid AND i.claim = $2 FOR NO KEY UPDATE
            ),
            counted AS MATERIALIZED (
                SELECT count(*) AS records, min(r.record_index) AS first, max(r.record_index) AS last
                FROM held h JOIN raw_import_records r ON r.data_import_id = h.id WHERE r.record_index IS NOT NULL
            ),
            whole AS MATERIALIZED (
                SELECT h.id FROM held h, counted c WHERE c.records = $3 AND ($3 = 0 OR c.first = 0 AND c.last = $3 - 1)
            ),
            done AS (
                UPDATE data_imports i SET \(ImportSQL.result), storage_location = NULL, storage_provider = '\(self.provider)'
                FROM whole w WHERE i.id = w.id
            ),
            marked AS (
                UPDATE raw_import_records r SET is_sample = true FROM whole w
                WHERE r.data_import_id = w.id AND r.record_index < \(Import.sampleRows) AND r.is_sample IS NOT TRUE
            )
            SELECT count(*) FROM whole
            """
        var moved = result
        moved.index = nil
        let statement = Statement(sql, ImportSQL.parameters(id, claim, moved))
        let seconds = self.limits.wholeImportSeconds
        return try await self.run(.imports, statement, seconds: seconds).first?.int64(0) == 1
    }
}

extension PoolLease {
    /// Runs a statement inside a transaction that is committed later. If the statement fails, the whole transaction is
    /// rolled back, so the error says that nothing has changed.
    fileprivate func runUncommitted(_ statement: Statement) async throws(PoolFailure) -> ResultSet {
        do throws(PoolFailure) {
            return try await self.run([statement])[0]
        } catch {
            throw PoolFailure(error.error)
        }
    }
}

extension ResultRow {
    /// Decodes the columns count and sum of a row digest; `nil` if one of them is NULL.
    fileprivate var digest: RowDigest? {
        guard let count = self.int64(0), let sum = self.text(1) else { return nil }
        return RowDigest(count: Int(count), sum: sum)
    }
}
