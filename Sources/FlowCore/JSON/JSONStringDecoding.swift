/// Decodes the strings of a valid text, including their escapes.
///
/// Strings are compared by their decoded bytes, never as Swift strings. Swift treats an `é` of one scalar and an `é` of
/// two scalars as equal; in JSON (RFC 8259, section 8.3) they are different names.
enum JSONStringDecoding {
    /// The content, in UTF-8, of the string in `range`, which includes the quotes.
    static func decoded(_ bytes: [UInt8], _ range: Range<Int>) -> ArraySlice<UInt8> {
        guard range.count >= 2 else { return [] }
        let content = bytes[range.lowerBound + 1..<range.upperBound - 1]
        guard content.contains(JSONByte.backslash) else { return content }
        return Self.unescaped(content)[...]
    }

    /// Replaces the escapes in the content of a valid string, without its quotes, by the characters they stand for.
    private static func unescaped(_ content: ArraySlice<UInt8>) -> [UInt8] {
        var output: [UInt8] = []
        output.reserveCapacity(content.count)
        var index = content.startIndex
        while index < content.endIndex {
            let byte = content[index]
            index += 1
            guard byte == JSONByte.backslash, index < content.endIndex else {
                output.append(byte)
                continue
            }
            let escape = content[index]
            index += 1
            switch escape {
            case UInt8(ascii: "b"): output.append(0x08)
            case UInt8(ascii: "f"): output.append(0x0C)
            case UInt8(ascii: "n"): output.append(0x0A)
            case UInt8(ascii: "r"): output.append(0x0D)
            case UInt8(ascii: "t"): output.append(0x09)
            case UInt8(ascii: "u"):
                var value = Self.codeUnit(content, at: index)
                index += 4
                if 0xD800...0xDBFF ~= value {
                    // A high surrogate. The text is valid, so the low surrogate follows as `\uXXXX`.
                    let low = Self.codeUnit(content, at: index + 2)
                    value = 0x10000 + (value & 0x3FF) << 10 + (low & 0x3FF)
                    index += 6
                }
                let scalar = Unicode.Scalar(value) ?? "\u{FFFD}"
                output.append(contentsOf: scalar.utf8)
            default: output.append(escape)
            }
        }
        return output
    }

    /// The value of the four hexadecimal digits from `start` on.
    private static func codeUnit(_ content: ArraySlice<UInt8>, at start: Int) -> UInt32 {
        var unit: UInt32 = 0
        for index in start..<start + 4 where index < content.endIndex {
            unit = unit << 4 | (JSONByte.hexadecimal(content[index]) ?? 0)
        }
        return unit
    }
}
