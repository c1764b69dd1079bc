extension JSONText {
    public var isObject: Bool { self.bytes.first == UInt8(ascii: "{") }

    public var isArray: Bool { self.bytes.first == UInt8(ascii: "[") }

    public var isNull: Bool { self.bytes.first == UInt8(ascii: "n") }

    /// The boolean that the text is.
    public var boolValue: Bool? {
        switch self.bytes.first {
        case UInt8(ascii: "t"): true
        case UInt8(ascii: "f"): false
        default: nil
        }
    }

    /// The string that the text is, escapes decoded.
    public var stringValue: String? {
        guard self.bytes.first == JSONByte.quote else { return nil }
        return Self.string(self.bytes, self.bytes.indices)
    }

    /// The integer that the text is: a number without point and exponent that fits.
    public var intValue: Int64? {
        guard self.isNumber else { return nil }
        return Int64(self.string)
    }

    /// The double next to the number that the text is.
    public var doubleValue: Double? {
        guard self.isNumber else { return nil }
        return Double(self.string)
    }

    /// The value of an object's member; of several of the same name the last, as most readers of JSON have it.
    ///
    /// - Parameter key: compared byte by byte with the names after decoding their escapes.
    /// - Returns: `nil` if there is none or the text is no object.
    public func member(_ key: String) -> JSONText? {
        let key = Array(key.utf8)[...]
        var found: Range<Int>?
        for member in JSONMemberRanges(in: self.bytes) where JSONStringDecoding.decoded(self.bytes, member.key) == key {
            found = member.value
        }
        return found.map(self.part)
    }

    /// An object's members as written, repeated ones included; nothing for anything else.
    public var members: [(key: String, value: JSONText)] {
        JSONMemberRanges(in: self.bytes).map { (Self.string(self.bytes, $0.key), self.part($0.value)) }
    }

    /// An array's elements; nothing for anything else.
    public var elements: [JSONText] {
        JSONElementRanges(in: self.bytes).map(self.part)
    }

    private var isNumber: Bool {
        guard let first = self.bytes.first else { return false }
        return JSONByte.isDigit(first) || first == UInt8(ascii: "-")
    }

    private func part(_ range: Range<Int>) -> JSONText { JSONText(unchecked: Array(self.bytes[range])) }

    private static func string(_ bytes: [UInt8], _ range: Range<Int>) -> String {
        String(decoding: JSONStringDecoding.decoded(bytes, range), as: UTF8.self)
    }
}
