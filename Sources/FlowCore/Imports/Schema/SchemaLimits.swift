/// What a schema analysis keeps of the records that it sees. Its memory is bounded by these.
public struct SchemaLimits: Hashable, Sendable {
    /// Fields that are looked into; members of others are only counted.
    public var fields = 1_000

    /// Bytes of a field's name. A field with a longer one is not looked into.
    public var nameBytes = 256

    /// Example values of a field.
    public var examples = 5

    /// Characters of an example and of a least and greatest string; the rest is cut off.
    public var characters = 100

    /// Up to this many different values of a field are counted exactly, more are estimated.
    public var exactDistinct = 256

    public init() {}
}
