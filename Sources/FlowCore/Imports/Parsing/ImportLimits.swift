/// What an import may demand of its reader. The reader's memory is bounded by these, whatever it reads.
public struct ImportLimits: Hashable, Sendable {
    /// Bytes of one record as it is stored, white space between tokens not counted; also of a CSV file's header as it came.
    public var recordBytes = 1 << 20

    /// Objects and arrays that may be open at once within a record. More than ``JSONLimits/greatestDepth`` counts as that.
    public var jsonDepth = 64

    /// Bytes of a number.
    public var numberLength = 1_000

    /// Columns of a CSV file's header.
    public var csvColumns = 2_000

    /// Bytes of all names of a CSV file's header: each row repeats them.
    public var csvNameBytes = 1 << 16

    /// Fields that the summary counts one by one.
    public var summaryFields = 1_000

    /// Bytes of a field's name in the summary. A field with a longer one is not counted by itself.
    public var summaryNameBytes = 256

    public init() {}
}
