/// The first 256 parameters of a query string (`application/x-www-form-urlencoded`), in their order.
///
/// An invalid escape stands for itself, as in the WHATWG's URL standard: `100%` has the value `100%`. A value that is not UTF-8 is
/// kept as it was sent. It contains a `%`, so it is not a valid flow id, event type, number or cursor.
struct QueryParameters {
    /// Maximum number of parameters that are read.
    private static let maximumCount = 256

    private var pairs: [(name: String, value: String)] = []

    init(_ query: Substring) {
        for (name, value) in Self.pairs(of: query) {
            guard let name = PercentDecoding.text(name, plusIsSpace: true) else { continue }
            self.pairs.append((name, PercentDecoding.text(value, plusIsSpace: true) ?? String(value)))
        }
    }

    /// The value of the first parameter with this name; `nil` if there is none.
    func first(_ name: String) -> String? { self.pairs.first { $0.name == name }?.value }
    /// The values of all parameters with this name.
    func all(_ name: String) -> [String] { self.pairs.filter { $0.name == name }.map(\.value) }

    /// The name of the first parameter that no store can hold: its name or value has control characters (U+0000 to U+001F, U+007F)
    /// or is not UTF-8. A name that is not printable is returned as it was sent.
    /// - Returns: `nil` if there is no such parameter.
    static func unreadable(in query: Substring) -> String? {
        // Raw control characters are not valid in a request target, so only an escape can stand for one.
        guard query.utf8.contains(UInt8(ascii: "%")) else { return nil }
        for (name, value) in Self.pairs(of: query) {
            guard let decoded = PercentDecoding.text(name, plusIsSpace: true), !Self.hasControls(decoded) else {
                return String(name.prefix(80))
            }
            guard let value = PercentDecoding.text(value, plusIsSpace: true), !Self.hasControls(value) else {
                return String(decoded.prefix(80))
            }
        }
        return nil
    }

    private static func hasControls(_ text: String) -> Bool { text.utf8.contains { $0 < 0x20 || $0 == 0x7f } }

    /// The names and values, still percent-encoded.
    private static func pairs(of query: Substring) -> [(name: Substring, value: Substring)] {
        query.split(separator: "&", maxSplits: Self.maximumCount).prefix(Self.maximumCount).map { pair in
            let name = pair.prefix { $0 != "=" }
            return (name, pair[name.endIndex...].dropFirst())
        }
    }
}

/// Decoding of percent escapes (RFC 3986, 2.1).
enum PercentDecoding {
    /// Decodes the percent escapes of a text, such as a segment of a path.
    /// - Returns: `nil` for an invalid escape, or if the result is not UTF-8.
    static func decode(_ text: Substring) -> String? {
        guard text.utf8.contains(UInt8(ascii: "%")) else { return String(text) }
        guard let bytes = Self.bytes(text.utf8, plusIsSpace: false, keepsInvalid: false) else { return nil }
        return String(validating: bytes, as: UTF8.self)
    }

    /// Decodes the percent escapes of a part of a query string. An invalid escape stands for itself.
    /// - Parameter plusIsSpace: whether `+` means a space.
    /// - Returns: `nil` if the result is not UTF-8.
    static func text(_ text: Substring, plusIsSpace: Bool) -> String? {
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
