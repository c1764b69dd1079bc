/// Grammar of strings: RFC 8259, section 7, with UTF-8 by RFC 3629.
enum JSONStringGrammar {
    /// The index after the closing quote of the string whose opening quote is at `start`.
    /// - Throws: ``JSONError`` if the string is invalid or has no closing quote.
    @inline(__always)
    static func end(in bytes: Span<UInt8>, from start: Int) throws(JSONError) -> Int {
        var index = Self.plainEnd(in: bytes, from: start + 1)
        while index < bytes.count, JSONByte.isPlain(bytes[index]) { index += 1 }
        if index < bytes.count, bytes[index] == JSONByte.quote { return index + 1 }
        return try Self.slowEnd(in: bytes, from: index)
    }

    /// Skips plain bytes in blocks of 16, while a whole block remains.
    /// - Returns: the index of the first byte that was not skipped.
    @inline(__always)
    private static func plainEnd(in bytes: Span<UInt8>, from start: Int) -> Int {
        let raw = bytes.bytes
        var index = start
        while index + JSONPlainBlock.count <= raw.byteCount {
            let plain = JSONPlainBlock.plainCount(raw.unsafeLoadUnaligned(fromByteOffset: index, as: SIMD16<Int8>.self))
            index += plain
            if plain < JSONPlainBlock.count { break }
        }
        return index
    }

    /// Reads the rest of a string byte by byte, from `start` within it.
    /// - Returns: the index after the closing quote.
    @inline(never)
    private static func slowEnd(in bytes: Span<UInt8>, from start: Int) throws(JSONError) -> Int {
        var index = start
        while index < bytes.count {
            let byte = bytes[index]
            if JSONByte.isPlain(byte) {
                index += 1
            } else if byte >= 0x80 {
                index = try Self.characterEnd(in: bytes, from: index)
            } else if byte == JSONByte.backslash {
                index = try Self.escapeEnd(in: bytes, from: index)
            } else if byte == JSONByte.quote {
                return index + 1
            } else {
                throw JSONError(code: .invalidString, offset: index)
            }
        }
        throw JSONError(code: .unexpectedEnd, offset: index)
    }

    /// The index after the UTF-8 character of two to four bytes that starts at `start`.
    @inline(__always)
    private static func characterEnd(in bytes: Span<UInt8>, from start: Int) throws(JSONError) -> Int {
        guard let lead = UTF8Lead(bytes[start]) else { throw JSONError(code: .invalidUTF8, offset: start) }
        guard start + lead.length <= bytes.count else { throw JSONError(code: .invalidUTF8, offset: start) }
        guard lead.second.contains(bytes[start + 1]) else {
            let isSurrogate = bytes[start] == 0xED && bytes[start + 1] & 0xE0 == 0xA0
            throw JSONError(code: isSurrogate ? .loneSurrogate : .invalidUTF8, offset: start)
        }
        var index = start + 2
        while index < start + lead.length {
            guard bytes[index] & 0xC0 == 0x80 else { throw JSONError(code: .invalidUTF8, offset: start) }
            index += 1
        }
        return index
    }

    /// The index after the escape whose backslash is at `start`; for a surrogate, after both escapes of its pair.
    private static func escapeEnd(in bytes: Span<UInt8>, from start: Int) throws(JSONError) -> Int {
        guard start + 1 < bytes.count else { throw JSONError(code: .unexpectedEnd, offset: bytes.count) }
        switch bytes[start + 1] {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"), UInt8(ascii: "b"), UInt8(ascii: "f"),
            UInt8(ascii: "n"), UInt8(ascii: "r"), UInt8(ascii: "t"):
            return start + 2
        case UInt8(ascii: "u"):
            break
        default:
            throw JSONError(code: .invalidString, offset: start)
        }
        switch try Self.codeUnit(in: bytes, from: start) {
        case 0xD800...0xDBFF:
            // Only another `\u` escape completes the pair.
            guard start + 7 < bytes.count, bytes[start + 6] == JSONByte.backslash, bytes[start + 7] == UInt8(ascii: "u"),
                case 0xDC00...0xDFFF = try Self.codeUnit(in: bytes, from: start + 6)
            else { throw JSONError(code: .loneSurrogate, offset: start) }
            return start + 12
        case 0xDC00...0xDFFF:
            throw JSONError(code: .loneSurrogate, offset: start)
        default:
            return start + 6
        }
    }

    /// The value of the four hexadecimal digits after the `\u` at `start`.
    private static func codeUnit(in bytes: Span<UInt8>, from start: Int) throws(JSONError) -> UInt32 {
        var unit: UInt32 = 0
        for index in start + 2..<start + 6 {
            guard index < bytes.count else { throw JSONError(code: .unexpectedEnd, offset: bytes.count) }
            guard let digit = JSONByte.hexadecimal(bytes[index]) else {
                throw JSONError(code: .invalidString, offset: start)
            }
            unit = unit << 4 | digit
        }
        return unit
    }
}
