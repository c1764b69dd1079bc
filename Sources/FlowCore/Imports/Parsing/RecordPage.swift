/// Consecutive whole records of an import, as text of its document: the content of one gzip member.
///
/// The pages of an import, concatenated, are one JSON array with one record per line:
///
///     [
///     {"id":1},
///     {"id":2}
///     ]
public struct RecordPage: Sendable {
    /// Extra capacity, so that the last record of a page seldom causes a reallocation.
    private static let spare = 1 << 16

    /// The text in UTF-8. Its last record may be incomplete until ``RecordReader/read(_:from:into:target:)`` gets
    /// more bytes.
    public private(set) var text: [UInt8] = []

    /// Range in ``text`` of each complete record.
    public private(set) var records: [Range<Int>] = []

    /// Number of bytes of the text. During a read, free bytes follow them.
    private(set) var used = 0

    /// Whether earlier pages of the import have records.
    private let continuing: Bool

    /// - Parameters:
    ///   - continuing: whether earlier pages of the import have records.
    ///   - capacity: expected number of bytes.
    public init(continuing: Bool, capacity: Int) {
        self.continuing = continuing
        self.text.reserveCapacity(capacity + Self.spare)
    }

    /// Ends the document's JSON array. To be called on the import's last page, after its last record.
    public mutating func close() {
        if !self.hasPredecessor { self.text.append(contentsOf: "[".utf8) }
        self.text.append(contentsOf: "\n]\n".utf8)
        self.used = self.text.count
    }

    /// Whether the import has a record, in this page or an earlier one, before the record that is added next.
    var hasPredecessor: Bool { self.continuing || !self.records.isEmpty }

    /// Ensures that at least `room` free bytes follow the text.
    mutating func reserve(_ room: Int) {
        let missing = self.used + room - self.text.count
        guard missing > 0 else { return }
        if self.text.capacity < self.used + room { self.text.reserveCapacity(max(2 * self.text.capacity, self.used + room)) }
        self.text.append(addingCapacity: missing) { $0.append(repeating: 0, count: missing) }
    }

    /// Removes the free bytes after the text.
    mutating func trim() { self.text.removeLast(self.text.count - self.used) }

    /// Passes the text, with the free bytes after it, to the closure, which writes to them and updates the number of
    /// bytes used.
    mutating func fill<Result, Failure: Error>(
        _ body: (inout MutableSpan<UInt8>, inout Int) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        var used = self.used
        defer { self.used = used }
        var span = self.text.mutableSpan
        return try body(&span, &used)
    }

    /// Adds a record that is known to be valid compact JSON, with the separator before it.
    mutating func append(_ record: JSONText) {
        self.text.append(contentsOf: self.hasPredecessor ? ",\n".utf8 : "[\n".utf8)
        let start = self.text.count
        self.text.append(contentsOf: record.bytes)
        self.used = self.text.count
        self.records.append(start..<self.used)
    }

    /// Adds the ranges of complete records whose text the page has already.
    mutating func add(_ records: [Range<Int>]) { self.records.append(contentsOf: records) }
}
