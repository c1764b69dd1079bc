/// What of imports is kept at hand for a while, for whoever asks next. It may be gone at any time; nothing waits for it long.
public protocol ImportCache: Sendable {
    /// JSON as it was put; `nil` on a miss.
    func value(_ kind: ImportCacheKind, of id: ImportID) async -> JSONText?
    /// Does not wait.
    func put(_ value: JSONText, _ kind: ImportCacheKind, of id: ImportID, seconds: Int)
    /// Everything of this import. Does not wait.
    func remove(_ id: ImportID)
}

public enum ImportCacheKind: String, Hashable, Sendable, CaseIterable {
    /// A JSON array of the first ``Import/sampleRecords`` records.
    case sample = "import:sample"
    /// A schema analysis.
    case analysis = "schema:analysis"
}
