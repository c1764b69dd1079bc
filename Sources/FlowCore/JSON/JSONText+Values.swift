extension JSONText {
    public var isObject: Bool { self.bytes.first == UInt8(ascii: "{") }

    public var isArray: Bool { self.bytes.first == UInt8(ascii: "[") }

    public var isNull: Bool { self.bytes.first == UInt8(ascii: "n") }

    /// The value as a boolean; `nil` for any other type.
    public var boolValue: Bool? {
        switch self.bytes.first {
        case UInt8(ascii: "t"): true
        case UInt8(ascii: "f"): false
        default: nil
        }
    }

    /// The value as a string with its escapes decoded; `nil` for any other type.
    public var stringValue: String? {
        guard self.bytes.first == JSONByte.quote else { return nil }
        return Self.string(self.bytes, self.bytes.indices)
    }

    /// The value as an integer; `nil` unless it is a number without fraction and exponent that fits into 64 bits.
    public var intValue: Int64? {
        guard self.isNumber else { return nil }
        return Int64(self.string)
    }

    /// The double nearest to the number; `nil` for any other type.
    public var doubleValue: Double? {
        guard self.isNumber else { return nil }
        return Double(self.string)
    }

    /// The value of an object's member with this name; the last such member if the name repeats, as in most JSON parsers.
    ///
    /// - Parameter key: compared byte by byte with the decoded names.
    /// - Returns: `nil` if there is no such member or the value is not an object.
    public func member(_ key: String) -> JSONText? {
        let key = Array(key.utf8)[...]
        var found: Range<Int>?
        for member in JSONMemberRanges(in: self.bytes) where JSONStringDecoding.decoded(self.bytes, member.key) == key {
            found = member.value
        }
        return found.map(self.part)
    }

    /// The members of an object in the order of the text, repeated ones included; empty for any other value.
    public var members: [(key: String, value: JSONText)] {
        JSONMemberRanges(in: self.bytes).map { (Self.string(self.bytes, $0.key), self.part($0.value)) }
    }

    /// The elements of an array; empty for any other value.
    public var elements: [JSONText] {
        JSONElementRanges(in: self.bytes).map(self.part)
    }

    /// Number of ``elements``, without copying them.
    public var elementCount: Int { JSONElementRanges(in: self.bytes).reduce(0) { count, _ in count + 1 } }

    /// A member's value that has not been copied out of its text.
    public struct Part: Sendable {
        fileprivate let source: [UInt8]
        fileprivate let range: Range<Int>

        /// The length in bytes.
        public var count: Int { self.range.count }
        /// The value, as a text of its own.
        public var text: JSONText { JSONText(unchecked: Array(self.source[self.range])) }
    }

    /// Passes the members of an object to the body, in the order of the text, repeated ones included. Ends with the first error
    /// and copies no value, unlike ``members``. Any other value has no members.
    /// - Parameter body: receives the decoded name and the value.
    public func forEachMember<Failure: Error>(
        _ body: (_ name: ArraySlice<UInt8>, _ value: Part) throws(Failure) -> Void
    ) throws(Failure) {
        for member in JSONMemberRanges(in: self.bytes) {
            try body(JSONStringDecoding.decoded(self.bytes, member.key), Part(source: self.bytes, range: member.value))
        }
    }

    /// Whether bytes begin an array of more than `limit` elements. The bytes need not be valid; of a valid array the elements
    /// beyond the limit are not read.
    public static func begins(arrayOfMoreThan limit: Int, _ bytes: [UInt8]) -> Bool {
        let span = bytes.span
        var index = 0
        func skipWhiteSpace() { while index < span.count, JSONByte.isWhiteSpace(span[index]) { index += 1 } }
        skipWhiteSpace()
        guard index < span.count, span[index] == UInt8(ascii: "[") else { return false }
        var commas = 0
        while commas < limit {
            index = JSONWalk.endOfValue(in: span, from: index + 1)
            skipWhiteSpace()
            guard index < span.count, span[index] == UInt8(ascii: ",") else { return false }
            commas += 1
        }
        return true
    }

    private var isNumber: Bool {
        guard let first = self.bytes.first else { return false }
        return JSONByte.isDigit(first) || first == UInt8(ascii: "-")
    }

    /// The value in this range of the bytes, as a text of its own.
    private func part(_ range: Range<Int>) -> JSONText { JSONText(unchecked: Array(self.bytes[range])) }

    /// The decoded string in this range, which includes the quotes.
    private static func string(_ bytes: [UInt8], _ range: Range<Int>) -> String {
        String(decoding: JSONStringDecoding.decoded(bytes, range), as: UTF8.self)
    }
}
