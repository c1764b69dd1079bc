/// A part of an import's document, with whole records: what one gzip member packs.
///
/// An import's pages, one after the other, are one JSON array with one record a line:
///
///     [
///     {"id":1},
///     {"id":2}
///     ]
public struct RecordPage: Sendable {
    /// Room beyond what a page is meant to hold, so that its last record seldom makes it move.
    private static let spare = 1 << 16

    /// The text in UTF-8. Its last record may be unfinished while ``RecordReader/read(_:from:into:target:)`` wants more bytes.
    public private(set) var text: [UInt8] = []

    /// Where in ``text`` each record's bytes are, whole records only.
    public private(set) var records: [Range<Int>] = []

    /// Bytes of the text; while it is read, room follows.
    private(set) var used = 0

    private let continuing: Bool

    /// - Parameters:
    ///   - continuing: whether the import has records on earlier pages.
    ///   - capacity: how many bytes it is meant to hold.
    public init(continuing: Bool, capacity: Int) {
        self.continuing = continuing
        self.text.reserveCapacity(capacity + Self.spare)
    }

    /// Ends the document, after the import's last record.
    public mutating func close() {
        if !self.hasPredecessor { self.text.append(contentsOf: "[".utf8) }
        self.text.append(contentsOf: "\n]\n".utf8)
        self.used = self.text.count
    }

    /// Whether the import has a record before the page's next one.
    var hasPredecessor: Bool { self.continuing || !self.records.isEmpty }

    /// Makes sure that there is so much room behind what is used.
    mutating func reserve(_ room: Int) {
        let missing = self.used + room - self.text.count
        guard missing > 0 else { return }
        if self.text.capacity < self.used + room { self.text.reserveCapacity(max(2 * self.text.capacity, self.used + room)) }
        self.text.append(addingCapacity: missing) { $0.append(repeating: 0, count: missing) }
    }

    /// Takes back the room that is left.
    mutating func trim() { self.text.removeLast(self.text.count - self.used) }

    /// Hands out the text with the room behind it. The closure says how much of it is used.
    mutating func fill<Result, Failure: Error>(
        _ body: (inout MutableSpan<UInt8>, inout Int) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        var used = self.used
        defer { self.used = used }
        var span = self.text.mutableSpan
        return try body(&span, &used)
    }

    /// Adds a record that is valid already.
    mutating func append(_ record: JSONText) {
        self.text.append(contentsOf: self.hasPredecessor ? ",\n".utf8 : "[\n".utf8)
        let start = self.text.count
        self.text.append(contentsOf: record.bytes)
        self.used = self.text.count
        self.records.append(start..<self.used)
    }

    mutating func add(_ records: [Range<Int>]) { self.records.append(contentsOf: records) }
}
