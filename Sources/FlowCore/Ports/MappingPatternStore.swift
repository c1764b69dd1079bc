/// A cache of mapping patterns, so that a proposal of how an import's fields map is computed once and used again.
///
/// All accounts share one key space. A key belongs to the account that put a pattern under it, until the pattern is
/// removed or expires. A store may drop patterns before they expire, to stay within its limits. Safe to use from any
/// task.
public protocol MappingPatternStore: Sendable {
    /// The mapping pattern under a key.
    /// - Returns: `nil` if there is no pattern, it has expired, or the key belongs to another account.
    func pattern(_ key: String, account: String) async throws(MappingPatternError) -> MappingPattern?
    /// Stores a pattern in place of the account's earlier one.
    /// - Parameter seconds: the lifetime from now on, by the store's clock.
    /// - Returns: whether there was no pattern under the key before.
    /// - Throws: ``MappingPatternError/otherAccount`` if the key belongs to another account; nothing was changed.
    func put(_ pattern: MappingPattern, key: String, account: String, seconds: Int) async throws(MappingPatternError) -> Bool
    /// Removes a pattern. A pattern of another account stays.
    /// - Returns: whether the account had a pattern under the key.
    func remove(_ key: String, account: String) async throws(MappingPatternError) -> Bool
}

/// A proposal of how an import's fields map, with the confidence that its author has in it.
public struct MappingPattern: Hashable, Sendable {
    /// Any JSON value, returned exactly as it was written.
    public let pattern: JSONText
    /// A JSON number from 0 to 1, returned exactly as it was written.
    public let confidence: JSONText

    /// - Returns: `nil` if the confidence is not a number from 0 to 1.
    public init?(pattern: JSONText, confidence: JSONText) {
        guard let value = confidence.doubleValue, (0...1).contains(value) else { return nil }
        self.pattern = pattern
        self.confidence = confidence
    }

    /// The double that is nearest to ``confidence``.
    public var confidenceValue: Double { self.confidence.doubleValue ?? 0 }

    /// The size of both JSON texts, in bytes.
    public var size: Int { self.pattern.bytes.count + self.confidence.bytes.count }
}

/// The reason that an operation on a mapping pattern (a cached proposal of how an import's fields map) failed.
public enum MappingPatternError: Error, Hashable, Sendable {
    /// The key belongs to another account.
    case otherAccount
    /// The store is unavailable. A change may or may not have been made; it can be repeated safely.
    case unavailable(String)
}
