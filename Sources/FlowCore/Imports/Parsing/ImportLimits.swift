/// Limits on the content of an import. They bound the memory that reading an import needs.
public struct ImportLimits: Hashable, Sendable {
    /// Maximum bytes of one record as stored (white space between tokens does not count), and of a CSV header as
    /// sent.
    public var recordBytes = 1 << 20

    /// Maximum depth to which objects and arrays of a record are nested. Values above ``JSONLimits/greatestDepth`` have
    /// the effect of that depth.
    public var jsonDepth = 64

    /// Maximum bytes of a number in JSON.
    public var numberLength = 1_000

    /// Maximum number of columns of a CSV file.
    public var csvColumns = 2_000

    /// Maximum bytes of all column names of a CSV header together, since each record repeats them.
    public var csvNameBytes = 1 << 16

    /// Maximum number of fields that a ``FieldSummary`` counts individually.
    public var summaryFields = 1_000

    /// Maximum bytes of a field's name in a ``FieldSummary``. A field with a longer name is not counted individually.
    public var summaryNameBytes = 256

    public init() {}
}
