public import FlowCore
import GRDB

extension SQLiteImportLedger {
    /// Makes the import `stored` and releases its claim. If its records are rows, first counts them on a reader
    /// connection. The transaction then verifies that the claim number is still the latest and that the rows have not
    /// changed since.
    /// - Returns: `false`, with nothing changed, if another worker has claimed the import since.
    /// - Throws: `unavailable` if the number of rows differs from the result's; nothing is changed then.
    public func finish(_ id: ImportID, claim: Int64, _ result: ImportResult) async throws(StoreError) -> Bool {
        let counted = result.index == nil ? try await self.count(id) : nil
        return try await self.store.write { database in
            guard try database.claimHeld(id, claim: claim), let entry = try database.entry(id),
                let rows = try database.recordRows(id)
            else { return false }
            if result.index == nil, entry.location == nil {
                guard let counted, counted.rows == rows, counted.isWhole(result.storage.recordCount) else {
                    throw StoreError.unavailable(
                        "import \(id) must have \(result.storage.recordCount) rows without gaps, "
                            + "but has \(counted?.count ?? 0) rows")
                }
                try database.markSamples(rows.span)
            } else {
                try database.run(
                    "DELETE FROM raw_import_records WHERE place >= ? AND place < ? AND is_sample",
                    [rows.span.first.databaseValue, rows.span.rowKey(at: Import.sampleRows).databaseValue])
                for (index, record) in result.samples.prefix(Import.sampleRows).enumerated() {
                    try database.addRecord(record, at: rows.span.rowKey(at: index), isSample: true)
                }
            }
            try database.store(id, result, at: try database.clock())
            return true
        }
    }

    /// Replaces what the ledger says about the import's storage, if its claim and its location are still these.
    /// - Returns: `false`, with nothing changed, if another worker has claimed the import since, or if the location is
    ///   another one.
    public func correct(
        _ id: ImportID, claim: Int64, from recorded: String?, to location: String?, provider: String, _ result: ImportResult
    ) async throws(StoreError) -> Bool {
        try await self.store.write { database in
            guard try database.claimHeld(id, claim: claim), let entry = try database.entry(id), entry.location == recorded else {
                return false
            }
            try database.store(id, result, at: try database.clock())
            try database.run(
                "UPDATE data_imports SET storage_location = ?, storage_provider = ? WHERE id = ?",
                [location.databaseValue, provider.databaseValue, id.rawValue.databaseValue])
            return true
        }
    }

    /// Makes the import `failed`, and deletes its rows.
    /// - Returns: `false`, with nothing changed, if another worker has claimed the import since, or if it is neither
    ///   `pending` nor `failed`.
    public func fail(_ id: ImportID, claim: Int64, reason: String) async throws(StoreError) -> Bool {
        let isDone = try await self.store.write { database in
            guard try database.claimHeld(id, claim: claim), let entry = try database.entry(id),
                entry.status == .pending || entry.status == .failed
            else { return false }
            try database.fail(id, reason: reason, at: try database.clock())
            return true
        }
        if isDone { await self.deleteDetachedRowsInBatches() }
        return isDone
    }

    /// Deletes the import and all its rows.
    /// - Returns: `false`, with nothing changed, if another worker has claimed the import since.
    public func remove(_ id: ImportID, claim: Int64) async throws(StoreError) -> Bool {
        let isDone = try await self.store.write { database in
            guard try database.claimHeld(id, claim: claim) else { return false }
            try database.detachRows(of: id, keepingSamples: false)
            try database.run("DELETE FROM data_imports WHERE id = ?", [id.rawValue.databaseValue])
            return true
        }
        if isDone { await self.deleteDetachedRowsInBatches() }
        return isDone
    }

    // MARK: Counting

    /// The number of an import's rows, and which rows were counted.
    struct Counted: Sendable {
        var rows: ImportRowRange
        var count: Int
        /// The highest row key; `nil` if there are no rows.
        var last: Int64?

        /// Whether the rows are those of the records 0 up to `count - 1`, without gaps.
        func isWhole(_ count: Int) -> Bool {
            self.count == count && (count == 0 || self.last == self.rows.span.rowKey(at: count - 1))
        }
    }

    /// Counts the import's rows on a reader connection; `nil` if the import does not exist.
    func count(_ id: ImportID) async throws(StoreError) -> Counted? {
        try await self.store.read(checksEpoch: false) { database in
            guard let rows = try database.recordRows(id) else { return nil }
            return try database.first(
                "SELECT count(*), max(place) FROM raw_import_records WHERE place >= ? AND place < ?", rows.span.bounds
            ) { Counted(rows: rows, count: $0[0], last: $0[1]) }
        }
    }
}
