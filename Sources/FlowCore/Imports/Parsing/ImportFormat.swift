/// The format of an import's body.
public enum ImportFormat: String, Hashable, Sendable, CaseIterable {
    /// One JSON array whose elements are the records, or one object, which is the only record.
    case json
    /// JSON values, one per line (each by RFC 8259). Blank lines are ignored.
    case ndjson
    /// A header and rows (RFC 4180 with the variants in common use). A row becomes an object of strings.
    case csv
}
