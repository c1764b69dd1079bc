/// What an import's bytes are.
public enum ImportFormat: String, Hashable, Sendable, CaseIterable {
    /// One JSON array whose elements are the records, or one object, which is the only record.
    case json
    /// JSON values, one a line (RFC 8259 each). Blank lines count for nothing.
    case ndjson
    /// A header and rows (RFC 4180, and what else is in use). A row becomes an object of strings.
    case csv
}
