public import FlowCore
import GRDB

extension SQLiteImportLedger {
    /// Inserts the records as rows, numbered from `index` on. Rows with the same numbers are replaced.
    /// - Returns: `false`, with nothing inserted, if another worker has claimed the import since.
    public func append(
        _ records: [JSONText], at index: Int, to id: ImportID, account: String, claim: Int64
    ) async throws(StoreError) -> Bool {
        try await self.store.write { database in
            try database.run(
                "UPDATE data_imports SET row_changes = row_changes + 1 WHERE id = ? AND claim = ? AND account = ?",
                [id.rawValue.databaseValue, claim.databaseValue, account.databaseValue])
            guard database.changesCount > 0, let span = try database.recordRows(id)?.span else { return false }
            for (number, record) in records.enumerated() {
                try database.addRecord(record, at: span.rowKey(at: index + number), isSample: false)
            }
            return true
        }
    }

    /// Reads consecutive records from number `offset` on (the first is 0): up to `limit`, and up to
    /// ``Limits/pageBytes`` bytes in total, but at least one if there is one.
    public func records(of id: ImportID, offset: Int, limit: Int) async throws(StoreError) -> [JSONText] {
        let (limit, pageBytes) = (max(1, limit), self.limits.pageBytes)
        return try await self.store.read(checksEpoch: false) { database in
            guard let span = try database.recordRows(id)?.span else { return [] }
            let rows = try database.rows(
                "SELECT raw_text FROM raw_import_records WHERE place >= ? AND place < ? ORDER BY place LIMIT ?",
                [span.rowKey(at: max(0, offset)).databaseValue, span.end.databaseValue, limit.databaseValue])
            var records: [JSONText] = []
            var bytes = 0
            while let row = try rows.next() {
                let record = JSONText(stored: row[0])
                bytes += record.bytes.count
                if !records.isEmpty, bytes > pageBytes { break }
                records.append(record)
            }
            return records
        }
    }

    /// Reads the next records after the bookmark, which is the number of the next record, because rows have no gaps.
    public func records(
        of id: ImportID, after bookmark: RecordBookmark?, limit: Int
    ) async throws(StoreError) -> RecordSlice {
        guard let offset = bookmark.map({ Int($0.rawValue) }) ?? 0 else {
            throw .unavailable("invalid continuation token of the records of import \(id)")
        }
        let records = try await self.records(of: id, offset: offset, limit: limit)
        return RecordSlice(
            records: records, next: records.isEmpty ? nil : RecordBookmark(rawValue: "\(offset + records.count)"))
    }

    /// Deletes the import's rows, except its sample rows.
    /// - Returns: `false`, with nothing changed, if another worker has claimed the import since.
    public func removeRecords(of id: ImportID, claim: Int64) async throws(StoreError) -> Bool {
        let isDone = try await self.store.write { database in
            guard try database.claimHeld(id, claim: claim) else { return false }
            try database.detachRows(of: id, keepingSamples: true)
            return true
        }
        if isDone { await self.deleteDetachedRowsInBatches() }
        return isDone
    }
}
