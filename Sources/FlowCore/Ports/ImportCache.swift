/// A cache of values that are derived from imports. An entry may be dropped at any time. Safe to use from any task.
public protocol ImportCache: Sendable {
    /// The JSON text that was put; `nil` if there is none, or if the cache does not answer in time.
    func value(_ kind: ImportCacheKind, of id: ImportID) async -> JSONText?
    /// Caches a value for at most `seconds`. Returns before the value is written; a failure has no effect.
    func put(_ value: JSONText, _ kind: ImportCacheKind, of id: ImportID, seconds: Int)
    /// Removes all values of an import. Returns before they are removed.
    func remove(_ id: ImportID)
}

/// The kinds of cached values. Raw values are prefixes of cache keys.
public enum ImportCacheKind: String, Hashable, Sendable, CaseIterable {
    /// A JSON array of the first ``Import/sampleRecords`` records.
    case sample = "import:sample"
    /// The import's schema analysis as JSON.
    case analysis = "schema:analysis"
}
