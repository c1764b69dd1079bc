/// Finds its way in a compact text that is known to be valid, without checking it again.
///
/// Should the text be broken all the same, every step still ends inside it.
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
                // At depth 0 this is the end of the container around a number or literal.
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
