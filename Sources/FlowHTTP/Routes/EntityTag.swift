import FlowCore

/// An entity tag in `If-Match` or `If-None-Match` (RFC 9110, 8.8.3).
///
/// The hub's tags identify a version of a flow or of a file, not the bytes of a response. A proxy that compresses responses changes
/// the tag that a client gets: it makes it weak (nginx, Varnish) or appends the content coding (Apache and Caddy `-gzip`, Jetty
/// `--gzip`, others `;gzip` or `:br`). The version is the same, so both forms match.
struct EntityTag: Equatable {
    var isWeak: Bool
    /// The text between the quotes. It may contain commas.
    var value: Substring

    /// Parses a comma-separated list of tags.
    /// - Returns: at least one tag; `nil` if the text has none or is not a list of tags.
    static func list(_ text: String) -> [EntityTag]? {
        var tags: [EntityTag] = []
        var rest = Substring(text)
        while true {
            // Empty list elements are ignored (RFC 9110, 5.6.1).
            rest = rest.drop { $0 == " " || $0 == "\t" || $0 == "," }
            if rest.isEmpty { return tags.isEmpty ? nil : tags }
            let isWeak = rest.hasPrefix("W/")
            if isWeak { rest = rest.dropFirst(2) }
            guard rest.first == "\"" else { return nil }
            rest = rest.dropFirst()
            guard let end = rest.firstIndex(of: "\"") else { return nil }
            let value = rest[..<end]
            guard value.unicodeScalars.allSatisfy({ $0.value > 0x20 && $0.value != 0x7f }) else { return nil }
            tags.append(EntityTag(isWeak: isWeak, value: value))
            rest = rest[end...].dropFirst().drop { $0 == " " || $0 == "\t" }
            guard rest.isEmpty || rest.first == "," else { return nil }
        }
    }

    /// Whether the tag is one of the hub's, weak or not, or that tag with an appended content coding.
    /// - Parameter tag: a tag as the hub sends it, with its quotes.
    func matches(_ tag: String) -> Bool {
        let own = tag.utf8.dropFirst().dropLast()
        return self.value.utf8.starts(with: own) && Self.isCoding(self.value.utf8.dropFirst(own.count))
    }

    /// The epoch and version in a tag of a flow, weak or not, also with an appended content coding; `nil` if the hub does not create
    /// tags of this form.
    var version: FlowChange.Precondition.VersionTag? {
        guard let hyphen = self.value.utf8.firstIndex(of: UInt8(ascii: "-")) else { return nil }
        let digits = self.value.utf8[self.value.utf8.index(after: hyphen)...].prefix { (0x30...0x39).contains($0) }
        guard Self.isCoding(self.value.utf8[digits.endIndex...]),
            case .flow(let epoch, let version) = Cursor(self.value[..<digits.endIndex])
        else { return nil }
        return .init(epoch: epoch, version: version)
    }

    /// Maximum length of what proxies append.
    private static let maximumCodingLength = 32

    /// Whether a text is what a proxy may append to a tag: nothing, or one or two of `-;:+._` and the name of a content coding, which
    /// begins with a letter.
    private static func isCoding(_ text: Substring.UTF8View) -> Bool {
        guard !text.isEmpty else { return true }
        let name = text.drop { "-;:+._".utf8.contains($0) }
        guard (1...2).contains(text.count - name.count), let first = name.first, Self.isLetter(first) else { return false }
        return text.count <= Self.maximumCodingLength
            && name.allSatisfy { Self.isLetter($0) || (0x30...0x39).contains($0) || $0 == UInt8(ascii: "-") }
    }

    private static func isLetter(_ byte: UInt8) -> Bool { (0x61...0x7a).contains(byte | 0x20) }
}
