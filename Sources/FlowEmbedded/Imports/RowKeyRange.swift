import FlowCore
import GRDB

/// The places of an import's rows. A row's key is its span's number in the upper half and the record's in the lower, so an import
/// lies together and in order, and the table needs no other index.
struct RowKeyRange: Hashable, Sendable {
    var number: Int64

    func rowKey(at index: Int) -> Int64 { self.first + Int64(min(max(0, index), Int(UInt32.max))) }

    var first: Int64 { self.number << 32 }
    var end: Int64 { (self.number + 1) << 32 }

    /// Of `place >= ? AND place < ?`.
    var bounds: [DatabaseValue] { [self.first.databaseValue, self.end.databaseValue] }
}

/// An import's span, with the number of changes that were made to its rows: each of a hub's is counted, and nobody else makes any.
struct ImportRowRange: Hashable, Sendable {
    var span: RowKeyRange
    var changes: Int64
}

extension Database {
    func recordRows(_ id: ImportID) throws -> ImportRowRange? {
        try self.first("SELECT span, row_changes FROM data_imports WHERE id = ?", [id.rawValue.databaseValue]) { row in
            ImportRowRange(span: RowKeyRange(number: row[0]), changes: row[1])
        }
    }

    func newSpan() throws -> RowKeyRange {
        let last = try self.first(
            "SELECT max((SELECT coalesce(max(span), 0) FROM data_imports), (SELECT coalesce(max(span), 0) FROM cut_off_records))",
            []
        ) { $0[0] as Int64 }
        return RowKeyRange(number: (last ?? 0) + 1)
    }

    func addRecord(_ record: JSONText, at rowKey: Int64, isSample: Bool) throws {
        try self.run(
            "INSERT OR REPLACE INTO raw_import_records (place, is_sample, raw_text) VALUES (?, ?, ?)",
            [rowKey.databaseValue, isSample.databaseValue, record.databaseValue])
    }

    /// Takes the rows away from an import, by giving it another span. They are removed later, see ``deleteDetachedRows(limit:)``.
    func detachRows(of id: ImportID, keepingSamples: Bool) throws {
        guard let old = try self.recordRows(id)?.span else { return }
        try self.run("INSERT INTO cut_off_records (span) VALUES (?)", [old.number.databaseValue])
        let new = try self.newSpan()
        if keepingSamples {
            // Few, and in front.
            try self.run(
                """
                INSERT INTO raw_import_records (place, is_sample, raw_text)
                SELECT place - ? + ?, is_sample, raw_text FROM raw_import_records
                WHERE place >= ? AND place < ? AND is_sample
                """,
                [
                    old.first.databaseValue, new.first.databaseValue, old.first.databaseValue,
                    old.rowKey(at: Import.sampleRows).databaseValue,
                ])
        }
        try self.run(
            "UPDATE data_imports SET span = ?, row_changes = row_changes + 1 WHERE id = ?",
            [new.number.databaseValue, id.rawValue.databaseValue])
    }

    /// Marks the first rows as samples.
    func markSamples(_ span: RowKeyRange) throws {
        try self.run(
            "UPDATE raw_import_records SET is_sample = 1 WHERE place >= ? AND place < ?",
            [span.first.databaseValue, span.rowKey(at: Import.sampleRows).databaseValue])
    }

    /// Removes rows that were cut off.
    /// - Returns: whether there may be more.
    func deleteDetachedRows(limit: Int) throws -> Bool {
        let number = try self.first("SELECT min(span) FROM cut_off_records", []) { $0[0] as Int64? }
        guard let number = number ?? nil else { return false }
        let span = RowKeyRange(number: number)
        let first = try self.first("SELECT min(place) FROM raw_import_records WHERE place >= ? AND place < ?", span.bounds) {
            $0[0] as Int64?
        }
        guard let first = first ?? nil else {
            try self.run("DELETE FROM cut_off_records WHERE span = ?", [number.databaseValue])
            return true
        }
        try self.run(
            "DELETE FROM raw_import_records WHERE place >= ? AND place < ?",
            [first.databaseValue, min(first + Int64(limit), span.end).databaseValue])
        return true
    }
}
