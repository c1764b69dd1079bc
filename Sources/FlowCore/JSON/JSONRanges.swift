/// The members of the object that starts at an index of a compact text; empty for any other value.
struct JSONMemberRanges: Sequence, IteratorProtocol {
    struct Element {
        /// Range of the name, including its quotes.
        let key: Range<Int>
        /// Range of the value.
        let value: Range<Int>
    }

    private let bytes: [UInt8]
    private var position: Int

    init(in bytes: [UInt8], at start: Int = 0) {
        self.bytes = bytes
        let isObject = start < bytes.count && bytes[start] == UInt8(ascii: "{")
        self.position = isObject ? start + 1 : bytes.count
    }

    /// The next member; `nil` after the last one.
    mutating func next() -> Element? {
        // A copy, since a span of `self.bytes` would borrow all of `self`.
        let bytes = self.bytes
        let span = bytes.span
        let key = self.position
        guard key < span.count, span[key] == JSONByte.quote else { return nil }
        let keyEnd = JSONWalk.endOfString(in: span, from: key)
        let value = keyEnd + 1
        guard value < span.count else { return nil }
        let end = JSONWalk.endOfValue(in: span, from: value)
        // Continue after the comma. Without a comma the object has ended.
        let isLast = end >= span.count || span[end] != UInt8(ascii: ",")
        self.position = isLast ? span.count : end + 1
        return Element(key: key..<keyEnd, value: value..<end)
    }
}

/// The elements of the array that starts at an index of a compact text; empty for any other value.
struct JSONElementRanges: Sequence, IteratorProtocol {
    private let bytes: [UInt8]
    private var position: Int

    init(in bytes: [UInt8], at start: Int = 0) {
        self.bytes = bytes
        let isArray = start < bytes.count && bytes[start] == UInt8(ascii: "[")
        self.position = isArray ? start + 1 : bytes.count
    }

    /// The range of the next element; `nil` after the last one.
    mutating func next() -> Range<Int>? {
        // A copy, since a span of `self.bytes` would borrow all of `self`.
        let bytes = self.bytes
        let span = bytes.span
        let start = self.position
        let end = start < span.count ? JSONWalk.endOfValue(in: span, from: start) : start
        // No value before the closing bracket: the array is empty.
        guard end > start else { return nil }
        let isLast = end >= span.count || span[end] != UInt8(ascii: ",")
        self.position = isLast ? span.count : end + 1
        return start..<end
    }
}
