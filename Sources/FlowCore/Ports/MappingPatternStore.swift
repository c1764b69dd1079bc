/// A cache of mapping patterns, so that a proposal of how an import's fields map is computed once and used again.
///
/// Each account has its own keys: patterns of two accounts under the same key are independent. A store may drop patterns
/// before they expire, to stay within its limits, but a pattern of one account never makes room for one of another. Safe to
/// use from any task.
public protocol MappingPatternStore: Sendable {
    /// The account's mapping pattern under a key; `nil` if there is none or it has expired.
    func pattern(_ key: String, account: String) async throws(MappingPatternError) -> MappingPattern?
    /// Stores a pattern in place of the account's earlier one. If the account then exceeds
    /// ``MappingPatternLimits/accountPatterns`` or ``MappingPatternLimits/accountBytes``, others of its patterns are evicted.
    /// - Parameter seconds: the lifetime from now on, by the store's clock.
    /// - Returns: whether there was no pattern under the key before.
    /// - Throws: ``MappingPatternError/tooMany`` or ``MappingPatternError/unavailable(_:)``.
    func put(_ pattern: MappingPattern, key: String, account: String, seconds: Int) async throws(MappingPatternError) -> Bool
    /// Removes the account's pattern under a key.
    /// - Returns: whether there was one.
    func remove(_ key: String, account: String) async throws(MappingPatternError) -> Bool
    /// Number of patterns that this process has evicted to stay within the limits.
    var evictions: Int { get }
}

/// The limits of stored mapping patterns.
public struct MappingPatternLimits: Hashable, Sendable {
    /// `FLOWHUB_MAX_ACCOUNT_PATTERNS`: maximum number of mapping patterns of one account.
    public var accountPatterns = 1_000
    /// `FLOWHUB_MAX_ACCOUNT_PATTERN_BYTES`: maximum ``MappingPattern/cost(key:account:)`` of one account's patterns together.
    public var accountBytes = 4_194_304
    /// `FLOWHUB_MAX_KEPT_PATTERNS`: maximum number of mapping patterns of all accounts in the memory of one process.
    public var patterns = 10_000
    /// `FLOWHUB_MAX_KEPT_PATTERN_BYTES`: maximum ``MappingPattern/cost(key:account:)`` of all patterns in the memory of one
    /// process together.
    public var bytes = 33_554_432

    public init() {}
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

    /// What the pattern counts toward the limits of bytes: its size, that of key and account, and an estimate of the
    /// overhead.
    public func cost(key: String, account: String) -> Int { 256 + self.size + key.utf8.count + account.utf8.count }
}

/// The reason that an operation on a mapping pattern (a cached proposal of how an import's fields map) failed.
public enum MappingPatternError: Error, Hashable, Sendable {
    /// The limits of all accounts together are reached, and no pattern of this account could make room. Nothing was changed.
    case tooMany
    /// The store is unavailable. A change may or may not have been made; it can be repeated safely.
    case unavailable(String)
}
