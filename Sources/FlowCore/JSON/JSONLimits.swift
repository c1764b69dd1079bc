/// What a JSON document may demand of its reader.
public struct JSONLimits: Hashable, Sendable {
    /// No configuration can allow more levels than this: merging and comparing recurse once a level.
    public static let greatestDepth = 512

    /// How many objects and arrays may be open at once. A value above ``greatestDepth`` counts as that.
    public var maximumDepth = 64

    /// How many bytes a number may be long, sign, point and exponent included.
    public var maximumNumberLength = 1000

    public init(maximumDepth: Int = 64, maximumNumberLength: Int = 1000) {
        self.maximumDepth = maximumDepth
        self.maximumNumberLength = maximumNumberLength
    }
}
