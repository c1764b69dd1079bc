/// Grammar of numbers: RFC 8259, section 6.
enum JSONNumberGrammar {
    /// The index after the number that starts at `start`.
    ///
    /// - Throws: ``JSONError/Code-swift.enum/invalidNumber`` if the number is too long or out of the range of a
    ///   double, else a syntax error. Section 6 allows such limits: some parsers read a number out of range as
    ///   infinity, others reject it.
    @inline(__always)
    static func end(in bytes: Span<UInt8>, from start: Int, maximumLength: Int) throws(JSONError) -> Int {
        var index = start
        if bytes[index] == UInt8(ascii: "-") { index += 1 }
        let integer = index
        index = try Self.digitsEnd(in: bytes, from: index)
        if bytes[integer] == UInt8(ascii: "0"), index > integer + 1 { throw JSONError(code: .syntax, offset: integer + 1) }
        // The greatest double has 309 digits. Up to 200 digits with a two-digit exponent are always within its range.
        var needsRangeCheck = index - integer > 200
        if index < bytes.count, bytes[index] == UInt8(ascii: ".") {
            index = try Self.digitsEnd(in: bytes, from: index + 1)
        }
        if index < bytes.count, bytes[index] | 0x20 == UInt8(ascii: "e") {
            index += 1
            if index < bytes.count, bytes[index] == UInt8(ascii: "+") || bytes[index] == UInt8(ascii: "-") { index += 1 }
            let exponent = index
            index = try Self.digitsEnd(in: bytes, from: exponent)
            if index - exponent > 2 { needsRangeCheck = true }
        }
        guard index - start <= maximumLength, !needsRangeCheck || Self.isFinite(bytes, start..<index) else {
            throw JSONError(code: .invalidNumber, offset: start)
        }
        return index
    }

    /// The index after a run of at least one digit.
    @inline(__always)
    private static func digitsEnd(in bytes: Span<UInt8>, from start: Int) throws(JSONError) -> Int {
        var index = start
        while index < bytes.count, JSONByte.isDigit(bytes[index]) { index += 1 }
        guard index > start else {
            throw JSONError(code: start < bytes.count ? .syntax : .unexpectedEnd, offset: start)
        }
        return index
    }

    /// Whether the number in this range of bytes is within the range of a double.
    @inline(never)
    static func isFinite(_ bytes: Span<UInt8>, _ range: Range<Int>) -> Bool {
        var text = ""
        text.reserveCapacity(range.count)
        for index in range { text.unicodeScalars.append(Unicode.Scalar(bytes[index])) }
        return Double(text)?.isFinite ?? false
    }
}
