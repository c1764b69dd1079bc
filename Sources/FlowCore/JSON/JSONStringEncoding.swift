/// Encodes strings by RFC 8259, section 7. U+2028 and U+2029 are escaped too, because they end a line in older
/// JavaScript.
enum JSONStringEncoding {
    /// Appends the string in quotes, escaped, in UTF-8.
    static func append(_ string: String, to output: inout [UInt8]) {
        let text = string.utf8
        output.append(JSONByte.quote)
        if text.allSatisfy(Self.isCopied) {
            output.append(contentsOf: text)
        } else {
            for scalar in string.unicodeScalars { Self.append(scalar, to: &output) }
        }
        output.append(JSONByte.quote)
    }

    /// Whether no character that needs an escape begins with the byte. If this holds for all bytes of a string, the string
    /// is copied unchanged. 0xE2 is excluded because U+2028 and U+2029 begin with it.
    @inline(__always)
    private static func isCopied(_ byte: UInt8) -> Bool {
        byte >= 0x20 && byte != JSONByte.quote && byte != JSONByte.backslash && byte != 0xE2
    }

    /// Appends one character of a string, escaped if necessary.
    private static func append(_ scalar: Unicode.Scalar, to output: inout [UInt8]) {
        switch scalar {
        case "\"": output.append(contentsOf: #"\""#.utf8)
        case "\\": output.append(contentsOf: #"\\"#.utf8)
        case "\n": output.append(contentsOf: #"\n"#.utf8)
        case "\r": output.append(contentsOf: #"\r"#.utf8)
        case "\t": output.append(contentsOf: #"\t"#.utf8)
        case "\u{8}": output.append(contentsOf: #"\b"#.utf8)
        case "\u{C}": output.append(contentsOf: #"\f"#.utf8)
        case "\u{2028}": output.append(contentsOf: #"\u2028"#.utf8)
        case "\u{2029}": output.append(contentsOf: #"\u2029"#.utf8)
        case "\u{0}"..<" ":
            output.append(contentsOf: #"\u00"#.utf8)
            output.append(JSONByte.digit(UInt8(scalar.value >> 4)))
            output.append(JSONByte.digit(UInt8(scalar.value & 0xF)))
        default: output.append(contentsOf: scalar.utf8)
        }
    }
}
