/// Statistics of a field's strings.
struct StringStatistics: Sendable {
    /// Maximum characters of ``least`` and ``greatest``; the rest is truncated.
    private let maximumCharacters: Int

    /// Number of strings.
    private(set) var count = 0
    /// Number of strings that are empty.
    private(set) var emptyCount = 0
    /// Number of strings of each ``TextPattern``, indexed by its raw value.
    private var patterns = [Int](repeating: 0, count: TextPattern.allCases.count)

    // MARK: Lengths in characters

    /// Length of the shortest string; `Int.max` before the first string.
    private(set) var minimumLength = Int.max
    /// Length of the longest string; 0 before the first string.
    private(set) var maximumLength = 0
    private var totalLength = 0

    // MARK: Least and greatest by code points, truncated

    /// The least string; `nil` before the first string.
    private(set) var least: [UInt8]?
    /// The greatest string; empty before the first string.
    private(set) var greatest: [UInt8] = []

    init(maximumCharacters: Int) { self.maximumCharacters = maximumCharacters }

    /// Adds a string.
    /// - Parameter text: its decoded content in UTF-8.
    mutating func add(_ text: ArraySlice<UInt8>) {
        let length = text.reduce(0) { $0 + ($1 & 0xC0 == 0x80 ? 0 : 1) }
        self.count += 1
        self.minimumLength = min(self.minimumLength, length)
        self.maximumLength = max(self.maximumLength, length)
        self.totalLength += length
        // The byte order of UTF-8 is the order of code points.
        let truncated = Self.truncated(text, to: self.maximumCharacters)
        if self.least == nil || truncated.lexicographicallyPrecedes(self.least ?? []) { self.least = Array(truncated) }
        if self.greatest.lexicographicallyPrecedes(truncated) { self.greatest = Array(truncated) }
        if text.isEmpty {
            self.emptyCount += 1
        } else if let pattern = TextPattern(of: text) {
            self.patterns[pattern.rawValue] += 1
        }
    }

    /// Mean length in characters, rounded to two decimals.
    var meanLength: Double {
        self.count == 0 ? 0 : (Double(self.totalLength) / Double(self.count) * 100).rounded() / 100
    }

    /// Number of strings that are not empty.
    var filledCount: Int { self.count - self.emptyCount }

    /// Number of strings for which this is the first pattern that matches.
    func count(of pattern: TextPattern) -> Int { self.patterns[pattern.rawValue] }

    /// The pattern of at least nine in ten of the strings that are not empty; `nil` if there is none.
    var pattern: TextPattern? {
        TextPattern.allCases.first { self.filledCount > 0 && 10 * self.count(of: $0) >= 9 * self.filledCount }
    }

    /// The first `characters` characters (code points) of a text in UTF-8.
    static func truncated(_ text: ArraySlice<UInt8>, to characters: Int) -> ArraySlice<UInt8> {
        guard text.count > characters else { return text }
        var remaining = characters
        for (index, byte) in zip(text.indices, text) where byte & 0xC0 != 0x80 {
            if remaining == 0 { return text[..<index] }
            remaining -= 1
        }
        return text
    }
}
