/// Limits that a JSON document must respect to be accepted.
public struct JSONLimits: Hashable, Sendable {
    /// Upper bound of ``maximumDepth``, because merging and comparing recurse once per level.
    public static let greatestDepth = 512

    /// Maximum nesting depth: the number of objects and arrays that are open at the same time. A value above
    /// ``greatestDepth`` has the effect of ``greatestDepth``.
    public var maximumDepth = 64

    /// Maximum length of a number in bytes, including sign, point and exponent.
    public var maximumNumberLength = 1000

    public init(maximumDepth: Int = 64, maximumNumberLength: Int = 1000) {
        self.maximumDepth = maximumDepth
        self.maximumNumberLength = maximumNumberLength
    }
}
