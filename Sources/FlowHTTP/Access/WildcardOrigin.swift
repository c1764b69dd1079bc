/// An entry `scheme://*.host[:port]` of ``CORSPolicy``: all origins with one label in place of the `*`.
struct WildcardOrigin: Sendable, Equatable {
    /// What precedes the label: `https://`.
    private let prefix: String
    /// What follows it: `.example.app`, or `.example.app:8443`.
    private let suffix: String

    /// - Parameter normalize: an origin as browsers write it; `nil` if the text is not an origin.
    /// - Returns: `nil` if the entry is not an origin with `*` as the first label of a host name, or if fewer than two labels follow:
    ///   `https://*.app` would match the pages of everybody.
    init?(_ entry: String, normalize: (String) -> String?) {
        guard entry.utf8.count(where: { $0 == UInt8(ascii: "*") }) == 1, let mark = entry.firstRange(of: "://*."),
            let origin = normalize(entry.replacing("*", with: "x")), let start = origin.firstRange(of: "://x.")
        else { return nil }
        self.prefix = entry[..<mark.lowerBound].lowercased() + "://"
        self.suffix = "." + origin[start.upperBound...]
        let labels = self.suffix.dropFirst().prefix { $0 != ":" }.split(separator: ".", omittingEmptySubsequences: false)
        // A name whose last label is a number is an IPv4 address.
        guard labels.count >= 2, labels.allSatisfy({ !$0.isEmpty }), labels.last?.contains(where: \.isLetter) == true else {
            return nil
        }
    }

    /// Whether the origin, as a browser writes it, has exactly one label in place of the `*`.
    func matches(_ origin: String) -> Bool {
        let bytes = origin.utf8
        guard bytes.starts(with: self.prefix.utf8) else { return false }
        let rest = bytes.dropFirst(self.prefix.utf8.count)
        let label = rest.prefix { $0 != UInt8(ascii: ".") }
        return (1...63).contains(label.count) && label.allSatisfy { Self.isLabelByte($0) }
            && rest.dropFirst(label.count).elementsEqual(self.suffix.utf8)
    }

    /// Whether a byte may occur in a label, in lower case.
    private static func isLabelByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"):
            true
        default: false
        }
    }
}
