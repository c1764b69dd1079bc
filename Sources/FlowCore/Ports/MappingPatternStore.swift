/// Mapping patterns that somebody worked out once, kept for a while so that nobody need work them out again.
///
/// A key is one name for all accounts, and belongs to the account that put something there until that is removed or past its
/// time. A store is a cache: it may let go of a pattern earlier, where it has no room.
public protocol MappingPatternStore: Sendable {
    /// - Returns: `nil` if there is none, its time is over, or it is another account's.
    func pattern(_ key: String, account: String) async throws(MappingPatternError) -> MappingPattern?
    /// Keeps a pattern in place of the account's earlier one.
    /// - Parameter seconds: how long, from now on, by the store's clock.
    /// - Returns: whether there was none before.
    /// - Throws: ``MappingPatternError/otherAccount`` without changing anything, if the key is another account's.
    func put(_ pattern: MappingPattern, key: String, account: String, seconds: Int) async throws(MappingPatternError) -> Bool
    /// - Returns: whether there was one of this account. One of another account stays.
    func remove(_ key: String, account: String) async throws(MappingPatternError) -> Bool
}

/// How fields map, and how sure whoever worked it out is of it.
public struct MappingPattern: Hashable, Sendable {
    /// Any JSON; it comes back as it was written.
    public let pattern: JSONText
    /// A number of 0...1, as it was written.
    public let confidence: JSONText

    /// - Returns: `nil` if the confidence is no number of 0...1.
    public init?(pattern: JSONText, confidence: JSONText) {
        guard let value = confidence.doubleValue, (0...1).contains(value) else { return nil }
        self.pattern = pattern
        self.confidence = confidence
    }

    /// The double next to ``confidence``.
    public var confidenceValue: Double { self.confidence.doubleValue ?? 0 }

    /// Bytes of both texts.
    public var size: Int { self.pattern.bytes.count + self.confidence.bytes.count }
}

public enum MappingPatternError: Error, Hashable, Sendable {
    /// The key is another account's.
    case otherAccount
    /// The store is out of reach. Whether a change was made is not known; to make it again does no harm.
    case unavailable(String)
}
