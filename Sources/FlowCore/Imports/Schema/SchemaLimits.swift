/// Limits on what a schema analysis keeps in memory.
public struct SchemaLimits: Hashable, Sendable {
    /// Maximum number of fields that are analyzed; members of other fields are only counted.
    public var fields = 1_000

    /// Maximum bytes of a field's name. A field with a longer name is not analyzed.
    public var nameBytes = 256

    /// Maximum number of example values of a field.
    public var examples = 5

    /// Maximum characters (code points) of an example, and of the least and the greatest string; the rest is
    /// truncated.
    public var characters = 100

    /// Maximum number of distinct values of a field that are counted exactly; more are estimated.
    public var exactDistinct = 256

    public init() {}
}
