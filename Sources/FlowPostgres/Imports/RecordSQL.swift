import FlowCore

/// SQL fragments that read the rows of `raw_import_records`, with the table alias `r`, in their order.
///
/// The order is: numbered rows by number, then rows without a number, which the legacy service wrote, by time and id.
enum RecordSQL {
    /// The record's text in a row that the legacy service wrote; NULL in a row that a hub wrote.
    static let foreignText = "CASE WHEN r.raw_text IS NULL THEN coalesce(r.raw_data::text, 'null') END"

    /// Hash of the record in a row. It does not depend on the record's number or on whether the row is a sample row.
    static let hash = "hashtextextended(coalesce(r.raw_text::text, r.raw_data::text, 'null'), 0)"

    /// Whether a hub may replace a row with a number: a hub wrote it, or it is a sample of the records in the object.
    static let isReplaceable = "r.raw_text IS NOT NULL OR r.is_sample IS TRUE"

    /// The sort order of an import's rows.
    static let order = "r.record_index, r.created_at, r.id"

    /// The SELECT of one page of records.
    /// - Parameters:
    ///   - conditions: SQL conditions on `r`, of which each row of the page meets exactly one; their parameters start at
    ///     `$4`.
    ///   - skips: whether to skip the first `$4` rows; with one condition only.
    /// - Returns: a statement with the parameters import `$1`, maximum bytes `$2` and maximum rows `$3`. Its columns
    ///   are those of ``ResultRow/record()``, `record_index`, `created_at` as text, `id` as text, and the number of
    ///   rows before the limit of bytes was applied.
    static func page(_ conditions: [String], skips: Bool = false) -> String {
        let columns = "r.id, r.record_index, r.created_at, r.raw_text, r.raw_data"
        let rows: String
        if skips {
            // Skipped rows are read from the index only, without their records.
            rows = """
                SELECT \(columns) FROM raw_import_records r WHERE r.id IN (
                    SELECT r.id FROM raw_import_records r WHERE r.data_import_id = $1::uuid AND \(conditions.joined())
                    ORDER BY \(Self.order) OFFSET $4 LIMIT $3)
                """
        } else {
            let ranges = conditions.map { condition in
                """
                (SELECT \(columns) FROM raw_import_records r WHERE r.data_import_id = $1::uuid AND \(condition)
                ORDER BY \(Self.order) LIMIT $3)
                """
            }
            rows = "SELECT * FROM (\(ranges.joined(separator: " UNION ALL "))) r ORDER BY \(Self.order) LIMIT $3"
        }
        // Limited first by the records' sizes on disk, so that records beyond the page are not even decompressed, then
        // by the sizes of the texts that are sent.
        return """
            SELECT r.raw_text, r.foreign_text, r.record_index::bigint, r.created_at::text, r.id::text, r.total FROM (
                SELECT r.*, sum(r.bytes) OVER (ORDER BY r.number) AS through FROM (
                    SELECT r.*, octet_length(coalesce(r.raw_text::text, r.foreign_text)) AS bytes FROM (
                        SELECT r.*, \(Self.foreignText) AS foreign_text FROM (
                            SELECT r.*, sum(r.size) OVER (ORDER BY r.number) AS size_through FROM (
                                SELECT r.*, row_number() OVER (ORDER BY \(Self.order)) AS number, count(*) OVER () AS total,
                                    coalesce(pg_column_size(r.raw_text), pg_column_size(r.raw_data), 4) AS size
                                FROM (\(rows)) r
                            ) r
                        ) r WHERE r.size_through <= $2 OR r.number = 1
                    ) r
                ) r
            ) r WHERE r.through <= $2 OR r.number = 1 ORDER BY r.number
            """
    }
}

extension ResultRow {
    /// Decodes the columns `raw_text` and ``RecordSQL/foreignText``.
    func record() throws(StoreError) -> JSONText {
        guard let record = self.json(0) ?? self.foreignJSON(1) else { throw StoreError(PoolFailure(.unreadable)) }
        return record
    }
}
