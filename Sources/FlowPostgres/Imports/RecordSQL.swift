import FlowCore

/// The pieces of SQL that say how records lie in `raw_import_records`, named `r`, and how they are read in their order.
///
/// In order means: by number, then those without one, which an older service made, by time and id.
enum RecordSQL {
    /// Of a row that no hub wrote.
    static let foreignText = "CASE WHEN r.raw_text IS NULL THEN coalesce(r.raw_data::text, 'null') END"

    /// The same for the same row, whatever its number and whether it is a sample.
    static let hash = "hashtextextended(coalesce(r.raw_text::text, r.raw_data::text, 'null'), 0)"

    static let order = "r.record_index, r.created_at, r.id"

    /// A page from a place on.
    /// - Parameters:
    ///   - place: a condition for `r`; its parameters are `$4` and those behind it.
    ///   - skips: whether so many of them as `$4` says are passed over first.
    /// - Returns: a statement with import `$1`, bytes at most `$2` and rows at most `$3`. Its columns are those of
    ///   ``ResultRow/record()``, `record_index`, `created_at` as text, `id` as text, and the number of rows before the cut by bytes.
    static func page(_ place: String, skips: Bool = false) -> String {
        let rows: String
        if skips {
            // The rows that are passed over are looked at in the index alone.
            rows = """
                raw_import_records r WHERE r.id IN (
                    SELECT r.id FROM raw_import_records r WHERE r.data_import_id = $1::uuid AND \(place)
                    ORDER BY \(Self.order) OFFSET $4 LIMIT $3)
                """
        } else {
            rows = "raw_import_records r WHERE r.data_import_id = $1::uuid AND \(place) ORDER BY \(Self.order) LIMIT $3"
        }
        // First by the sizes on disk, so that what is not sent is not even unpacked; then by the sizes that are sent.
        return """
            SELECT r.raw_text, r.foreign_text, r.record_index::bigint, r.created_at::text, r.id::text, r.total FROM (
                SELECT r.*, sum(r.bytes) OVER (ORDER BY r.number) AS through FROM (
                    SELECT r.*, octet_length(coalesce(r.raw_text::text, r.foreign_text)) AS bytes FROM (
                        SELECT r.*, \(Self.foreignText) AS foreign_text FROM (
                            SELECT r.*, sum(r.size) OVER (ORDER BY r.number) AS size_through FROM (
                                SELECT r.*, row_number() OVER (ORDER BY \(Self.order)) AS number, count(*) OVER () AS total,
                                    coalesce(pg_column_size(r.raw_text), pg_column_size(r.raw_data), 4) AS size
                                FROM (SELECT r.id, r.record_index, r.created_at, r.raw_text, r.raw_data FROM \(rows)) r
                            ) r
                        ) r WHERE r.size_through <= $2 OR r.number = 1
                    ) r
                ) r
            ) r WHERE r.through <= $2 OR r.number = 1 ORDER BY r.number
            """
    }
}

extension ResultRow {
    /// From `raw_text` and ``RecordSQL/foreignText``.
    func record() throws(StoreError) -> JSONText {
        guard let record = self.json(0) ?? self.foreignJSON(1) else { throw StoreError(PoolFailure(.unreadable)) }
        return record
    }
}
