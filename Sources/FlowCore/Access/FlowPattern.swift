/// A grant in a token: one flow id, or all flow ids with a prefix (`import-*`). `*` alone grants every flow.
///
/// A pattern has 1 to 128 bytes: characters allowed in flow ids, with at most one `*`, at the end. Other wildcards do not
/// exist, so that a pattern cannot match more flows than it appears to.
public struct FlowPattern: Hashable, Sendable, CustomStringConvertible {
    /// The pattern `*`, which matches every flow.
    public static let all = FlowPattern(stem: "", isPrefix: true)

    /// The pattern without its `*`.
    private let stem: String
    /// Whether the pattern ends with `*`.
    private let isPrefix: Bool

    /// Parses a pattern.
    /// - Returns: `nil` if the text is neither an id nor a prefix with `*`.
    public init?(_ text: String) {
        let bytes = text.utf8
        guard bytes.last == UInt8(ascii: "*") else {
            guard Identifier.isValid(bytes, maximumLength: FlowID.maximumLength) else { return nil }
            self.init(stem: text, isPrefix: false)
            return
        }
        let stem = bytes.dropLast()
        // `.` and `..` are not ids, but ids may start with them. So a prefix is valid if it is an id with a letter
        // appended.
        guard stem.count < FlowID.maximumLength,
            Identifier.isValid(Array(stem) + [UInt8(ascii: "a")], maximumLength: FlowID.maximumLength)
        else { return nil }
        self.init(stem: String(decoding: stem, as: UTF8.self), isPrefix: true)
    }

    private init(stem: String, isPrefix: Bool) {
        self.stem = stem
        self.isPrefix = isPrefix
    }

    /// Whether the pattern grants this flow.
    public func matches(_ flow: FlowID) -> Bool {
        // Compares bytes, because Swift compares strings by Unicode equivalence, which must not make a pattern match
        // further ids. Both sides are ASCII.
        self.isPrefix ? flow.rawValue.utf8.starts(with: self.stem.utf8) : flow.rawValue.utf8.elementsEqual(self.stem.utf8)
    }

    /// The ranges of ids that patterns match, in ascending order and without overlap. A flow id is in one of the ranges if and
    /// only if one of the patterns matches it.
    public static func ranges(of patterns: [FlowPattern]) -> [(first: String, last: String)] {
        let sorted = patterns.map { pattern in
            // No id with this prefix is higher: `z` is the highest character of an id.
            let filler = String(repeating: "z", count: FlowID.maximumLength - pattern.stem.utf8.count)
            return (first: pattern.stem, last: pattern.isPrefix ? pattern.stem + filler : pattern.stem)
        }.sorted { ($0.first, $1.last) < ($1.first, $0.last) }
        var ranges: [(first: String, last: String)] = []
        for range in sorted {
            // Ranges of prefixes are nested or disjoint.
            if let last = ranges.last, range.last <= last.last { continue }
            ranges.append(range)
        }
        return ranges
    }

    /// The pattern's text.
    public var description: String { self.isPrefix ? self.stem + "*" : self.stem }
}
