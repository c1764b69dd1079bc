/// Finds the ends of strings and values in a compact text that is known to be valid, without validating it again.
///
/// In an invalid text, the returned indices are still at most the number of bytes.
enum JSONWalk {
    /// The index after the string whose opening quote is at `start`.
    @inline(__always)
    static func endOfString(in bytes: Span<UInt8>, from start: Int) -> Int {
        var index = start + 1
        while index < bytes.count {
            let byte = bytes[index]
            if byte == JSONByte.quote { return index + 1 }
            index += byte == JSONByte.backslash ? 2 : 1
        }
        return bytes.count
    }

    /// The index after the value at `start`.
    static func endOfValue(in bytes: Span<UInt8>, from start: Int) -> Int {
        var index = start
        var depth = 0
        while index < bytes.count {
            switch bytes[index] {
            case JSONByte.quote:
                index = Self.endOfString(in: bytes, from: index)
                if depth == 0 { return index }
            case UInt8(ascii: "{"), UInt8(ascii: "["):
                depth += 1
                index += 1
            case UInt8(ascii: "}"), UInt8(ascii: "]"):
                // At depth 0 the value is a number or literal, and this bracket closes the object or array that contains
                // it.
                if depth == 0 { return index }
                depth -= 1
                index += 1
                if depth == 0 { return index }
            case UInt8(ascii: ","):
                if depth == 0 { return index }
                index += 1
            default:
                index += 1
            }
        }
        return bytes.count
    }
}
