import FlowCore
import GRDB

/// The range of row keys that belongs to an import, called its span. A row's key has the span's number in the upper
/// 32 bits and the record's number in the lower 32. So an import's rows are adjacent and in order, and the table
/// needs no other index.
struct RowKeyRange: Hashable, Sendable {
    /// The span's number, different for each import and for detached rows.
    var number: Int64

    /// The key of the row for the record with number `index`, counted from 0.
    func rowKey(at index: Int) -> Int64 { self.first + Int64(min(max(0, index), Int(UInt32.max))) }

    /// The lowest key of the range.
    var first: Int64 { self.number << 32 }
    /// The first key after the range.
    var end: Int64 { (self.number + 1) << 32 }

    /// The arguments for `place >= ? AND place < ?`.
    var bounds: [DatabaseValue] { [self.first.databaseValue, self.end.databaseValue] }
}

/// An import's span, and the number of changes of the import's rows so far. As long as this number is equal, the rows
/// are unchanged.
struct ImportRowRange: Hashable, Sendable {
    var span: RowKeyRange
    var changes: Int64
}

extension Database {
    /// Reads the import's span and the number of changes of its rows; `nil` if the import does not exist.
    func recordRows(_ id: ImportID) throws -> ImportRowRange? {
        try self.first("SELECT span, row_changes FROM data_imports WHERE id = ?", [id.rawValue.databaseValue]) { row in
            ImportRowRange(span: RowKeyRange(number: row[0]), changes: row[1])
        }
    }

    /// A span that no import and no detached rows have.
    func newSpan() throws -> RowKeyRange {
        let last = try self.first(
            "SELECT max((SELECT coalesce(max(span), 0) FROM data_imports), (SELECT coalesce(max(span), 0) FROM cut_off_records))",
            []
        ) { $0[0] as Int64 }
        return RowKeyRange(number: (last ?? 0) + 1)
    }

    /// Inserts a row, or replaces the one with the same key.
    func addRecord(_ record: JSONText, at rowKey: Int64, isSample: Bool) throws {
        try self.run(
            "INSERT OR REPLACE INTO raw_import_records (place, is_sample, raw_text) VALUES (?, ?, ?)",
            [rowKey.databaseValue, isSample.databaseValue, record.databaseValue])
    }

    /// Detaches an import's rows by assigning the import a new, empty span (range of row keys). They are deleted later; see
    /// ``deleteDetachedRows(limit:)``.
    /// - Parameter keepingSamples: whether to copy the sample rows to the new span.
    func detachRows(of id: ImportID, keepingSamples: Bool) throws {
        guard let old = try self.recordRows(id)?.span else { return }
        try self.run("INSERT INTO cut_off_records (span) VALUES (?)", [old.number.databaseValue])
        let new = try self.newSpan()
        if keepingSamples {
            // Copies the sample rows: at most ``Import/sampleRows``, which are the first of the span.
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

    /// Marks the first ``Import/sampleRows`` rows of a span as sample rows.
    func markSamples(_ span: RowKeyRange) throws {
        try self.run(
            "UPDATE raw_import_records SET is_sample = 1 WHERE place >= ? AND place < ?",
            [span.first.databaseValue, span.rowKey(at: Import.sampleRows).databaseValue])
    }

    /// Deletes up to `limit` detached rows of one span.
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
