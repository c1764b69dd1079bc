/// What a scanner has found since it was last asked. Kept apart from the page, which is only borrowed meanwhile.
struct RecordScanOutput: Sendable {
    /// A member of a record that is an object.
    struct Member: Sendable {
        /// Where in the page the name is, without quotes, as written.
        let key: Range<Int>
        /// The first byte of the value, which tells its type.
        let value: UInt8

        /// Stands after a record's last member.
        static let end = Member(key: 0..<0, value: 0)
    }

    /// Whether the import had a record before these.
    var continuing = false

    /// Where in the page whole records are.
    var records: [Range<Int>] = []

    /// JSON: the records' members in order, with ``Member/end`` after each record.
    var members: [Member] = []

    /// CSV: how many cells each row has.
    var cells: [Int] = []

    /// The two bytes before the next record.
    var separator: (UInt8, UInt8) {
        (!self.continuing && self.records.isEmpty ? UInt8(ascii: "[") : UInt8(ascii: ","), UInt8(ascii: "\n"))
    }

    mutating func clear(continuing: Bool) {
        self.continuing = continuing
        self.records.removeAll(keepingCapacity: true)
        self.members.removeAll(keepingCapacity: true)
        self.cells.removeAll(keepingCapacity: true)
    }
}
