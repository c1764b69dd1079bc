/// Records and members that a scanner has found in one step. They are collected here and added to the page
/// later, since the page cannot be changed while the scanner writes to its text.
struct RecordScanOutput: Sendable {
    /// A member of a record that is an object.
    struct Member: Sendable {
        /// Range of the name in the page, as written, without quotes.
        let key: Range<Int>
        /// The first byte of the value, which determines its type.
        let value: UInt8

        /// Marks the end of a record's members.
        static let end = Member(key: 0..<0, value: 0)
    }

    /// Whether the import has a record before ``records``.
    var continuing = false

    /// Ranges of complete records in the page.
    var records: [Range<Int>] = []

    /// JSON: the records' members in order, with ``Member/end`` after each record.
    var members: [Member] = []

    /// CSV: number of cells of each row.
    var cells: [Int] = []

    /// The two bytes to write before the next record: a bracket before the import's first record, a comma before any
    /// other, and a line feed.
    var separator: (UInt8, UInt8) {
        (!self.continuing && self.records.isEmpty ? UInt8(ascii: "[") : UInt8(ascii: ","), UInt8(ascii: "\n"))
    }

    /// Empties the output before the next step.
    /// - Parameter continuing: whether the import has had a record so far.
    mutating func clear(continuing: Bool) {
        self.continuing = continuing
        self.records.removeAll(keepingCapacity: true)
        self.members.removeAll(keepingCapacity: true)
        self.cells.removeAll(keepingCapacity: true)
    }
}
