import FlowCore

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
    /// The value of the last parameter whose name fulfills the condition; `nil` if there is none.
    func last(where isWanted: (String) -> Bool) -> String? { self.pairs.last { isWanted($0.name) }?.value }
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
