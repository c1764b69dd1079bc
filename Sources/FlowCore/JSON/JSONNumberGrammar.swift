/// Numbers: RFC 8259 section 6.
enum JSONNumberGrammar {
    /// The index after the number that starts at `start`.
    ///
    /// - Throws: ``JSONError/Code-swift.enum/invalidNumber`` for one that no finite double is near (section 6 lets a reader
    ///   set limits: what one program takes for infinity, another refuses) or that is too long.
    @inline(__always)
    static func end(in bytes: Span<UInt8>, from start: Int, maximumLength: Int) throws(JSONError) -> Int {
        var index = start
        if bytes[index] == UInt8(ascii: "-") { index += 1 }
        let integer = index
        index = try Self.digitsEnd(in: bytes, from: index)
        if bytes[integer] == UInt8(ascii: "0"), index > integer + 1 { throw JSONError(code: .syntax, offset: integer + 1) }
        // The greatest double has 309 digits: 200 and an exponent of two digits are far below.
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

    /// Whether a finite double is near the number that takes up the range.
    @inline(never)
    static func isFinite(_ bytes: Span<UInt8>, _ range: Range<Int>) -> Bool {
        var text = ""
        text.reserveCapacity(range.count)
        for index in range { text.unicodeScalars.append(Unicode.Scalar(bytes[index])) }
        return Double(text)?.isFinite ?? false
    }
}
