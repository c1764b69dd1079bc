/// An entity tag in `If-Match` or `If-None-Match` (RFC 9110, 8.8.3).
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
}
