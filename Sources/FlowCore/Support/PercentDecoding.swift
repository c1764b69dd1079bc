/// Decoding of percent escapes (RFC 3986, 2.1).
package enum PercentDecoding {
    /// Decodes the percent escapes of a text, such as a segment of a path.
    /// - Parameter plusIsSpace: whether `+` means a space.
    /// - Returns: `nil` for an invalid escape, or if the result is not UTF-8.
    package static func decode(_ text: Substring, plusIsSpace: Bool = false) -> String? {
        guard text.utf8.contains(where: { $0 == UInt8(ascii: "%") || $0 == UInt8(ascii: "+") }) else { return String(text) }
        guard let bytes = Self.bytes(text.utf8, plusIsSpace: plusIsSpace, keepsInvalid: false) else { return nil }
        return String(validating: bytes, as: UTF8.self)
    }

    /// Decodes the percent escapes of a part of a query string. An invalid escape stands for itself.
    /// - Parameter plusIsSpace: whether `+` means a space.
    /// - Returns: `nil` if the result is not UTF-8.
    package static func text(_ text: Substring, plusIsSpace: Bool) -> String? {
        guard text.utf8.contains(where: { $0 == UInt8(ascii: "%") || $0 == UInt8(ascii: "+") }) else { return String(text) }
        let bytes = Self.bytes(text.utf8, plusIsSpace: plusIsSpace, keepsInvalid: true) ?? []
        return String(validating: bytes, as: UTF8.self)
    }

    /// - Parameter keepsInvalid: whether a `%` without two hexadecimal digits stands for itself.
    /// - Returns: `nil` for an invalid escape, unless `keepsInvalid`.
    private static func bytes(_ text: Substring.UTF8View, plusIsSpace: Bool, keepsInvalid: Bool) -> [UInt8]? {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(text.count)
        var rest = text
        while let byte = rest.popFirst() {
            switch byte {
            case UInt8(ascii: "%"):
                let digits = rest.prefix(2)
                if digits.count == 2, let high = Self.digit(digits[digits.startIndex]),
                    let low = Self.digit(digits[digits.index(after: digits.startIndex)])
                {
                    bytes.append(high << 4 | low)
                    rest = rest.dropFirst(2)
                } else if keepsInvalid {
                    bytes.append(byte)
                } else {
                    return nil
                }
            case UInt8(ascii: "+") where plusIsSpace: bytes.append(UInt8(ascii: " "))
            default: bytes.append(byte)
            }
        }
        return bytes
    }

    /// The value of a hexadecimal digit; `nil` for any other byte.
    private static func digit(_ byte: UInt8) -> UInt8? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
        default: nil
        }
    }
}
