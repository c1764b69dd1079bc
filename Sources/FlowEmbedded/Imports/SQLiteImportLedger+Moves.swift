public import FlowCore
import GRDB

extension SQLiteImportLedger {
    /// Computes the row digest of the import: the count and the sum of hashes of its rows.
    public func digest(of id: ImportID) async throws(StoreError) -> RowDigest {
        try await self.digested(id)?.digest ?? RowDigest(count: 0, sum: "0")
    }

    /// Counts the import's rows on a reader connection. Each row has a number, because its key contains it.
    public func rowCounts(of id: ImportID) async throws(StoreError) -> RowCounts {
        let found = try await self.store.read(checksEpoch: false) { database -> RowCounts? in
            guard let rows = try database.recordRows(id) else { return nil }
            return try database.first(
                """
                SELECT count(*), coalesce(sum(is_sample), 0), coalesce(max(place), ?) FROM raw_import_records
                WHERE place >= ? AND place < ?
                """, [(rows.span.first - 1).databaseValue] + rows.span.bounds
            ) { row in
                let count: Int = row[0]
                let last: Int64 = row[2]
                return RowCounts(
                    rows: count, samples: row[1], numbered: count, isContiguous: last - rows.span.first == Int64(count) - 1)
            }
        }
        return found ?? RowCounts(rows: 0, samples: 0, numbered: 0, isContiguous: true)
    }

    /// Detaches all rows except the sample rows, and sets the object as the import's storage. Before that, computes the
    /// digest of the rows on a reader connection. The transaction then verifies, by the number of row changes, that the
    /// rows are still the same.
    /// - Returns: `false`, with nothing changed, if the digest of the rows is not `expecting`, if `result` has another
    ///   number of records, if the rows have changed, or if another worker has claimed the import since.
    public func switchToObject(
        _ id: ImportID, claim: Int64, location: String, provider: String, expecting: RowDigest, _ result: ImportResult
    ) async throws(StoreError) -> Bool {
        // The object must contain every row, because the rows are deleted here.
        guard expecting.count == result.storage.recordCount, let found = try await self.digested(id), found.digest == expecting
        else { return false }
        let isDone = try await self.store.write { database in
            guard try database.claimHeld(id, claim: claim), try database.recordRows(id) == found.rows else { return false }
            try database.markSamples(found.rows.span)
            try database.detachRows(of: id, keepingSamples: true)
            if result.replacesSamples, let span = try database.recordRows(id)?.span {
                for (index, record) in result.samples.prefix(Import.sampleRows).enumerated() {
                    try database.addRecord(record, at: span.rowKey(at: index), isSample: true)
                }
            }
            try database.store(id, result, at: try database.clock())
            try database.run(
                "UPDATE data_imports SET storage_location = ?, storage_provider = ? WHERE id = ?",
                [location.databaseValue, provider.databaseValue, id.rawValue.databaseValue])
            return true
        }
        if isDone { await self.deleteDetachedRowsInBatches() }
        return isDone
    }

    /// Sets the rows as the import's storage in place of its object, and marks the first ones as sample rows.
    /// - Returns: `false`, with nothing changed, if the import does not have exactly `count` rows without gaps, if
    ///   `result` has another number of records, or if another worker has claimed the import since.
    public func switchToRows(
        _ id: ImportID, claim: Int64, count: Int, _ result: ImportResult
    ) async throws(StoreError) -> Bool {
        guard count == result.storage.recordCount, let counted = try await self.count(id), counted.isWhole(count) else {
            return false
        }
        var moved = result
        moved.index = nil
        return try await self.store.write { [moved] database in
            guard try database.claimHeld(id, claim: claim), try database.recordRows(id) == counted.rows else { return false }
            try database.markSamples(counted.rows.span)
            try database.store(id, moved, at: try database.clock())
            try database.run(
                "UPDATE data_imports SET storage_location = NULL, storage_provider = ? WHERE id = ?",
                [Self.provider.databaseValue, id.rawValue.databaseValue])
            return true
        }
    }

    /// Reads the import's rows on a reader connection, and computes their digest; `nil` if the import does not exist.
    private func digested(_ id: ImportID) async throws(StoreError) -> (rows: ImportRowRange, digest: RowDigest)? {
        try await self.store.read(checksEpoch: false) { database in
            guard let found = try database.recordRows(id) else { return nil }
            let rows = try database.rows(
                "SELECT raw_text FROM raw_import_records WHERE place >= ? AND place < ?", found.span.bounds)
            var (count, sum) = (0, UInt64(0))
            while let row = try rows.next() {
                count += 1
                sum &+= RecordHash.of(row[0])
            }
            return (found, RowDigest(count: count, sum: String(sum, radix: 16)))
        }
    }
}

extension SQLiteImportLedger: ImportRestoration {
    /// Inserts an import of another store; see ``ImportRestoration/insert(_:isAnnounced:claimSeconds:)``.
    public func insert(_ entry: Import, isAnnounced: Bool, claimSeconds: Int) async throws(StoreError) -> Bool {
        try await self.store.write { database in
            let now = try database.clock()
            return try database.insert(
                restored: entry, isAnnounced: isAnnounced, until: now.advanced(bySeconds: Int64(claimSeconds)), at: now)
        }
    }
}
