/// What is to be said of a field's strings.
struct StringStatistics: Sendable {
    private let maximumCharacters: Int

    private(set) var count = 0
    private(set) var emptyCount = 0
    /// By ``TextPattern``.
    private var patterns = [Int](repeating: 0, count: TextPattern.allCases.count)

    // MARK: Lengths in characters

    private(set) var minimumLength = Int.max
    private(set) var maximumLength = 0
    private var totalLength = 0

    // MARK: By code points, cut

    private(set) var least: [UInt8]?
    private(set) var greatest: [UInt8] = []

    init(maximumCharacters: Int) { self.maximumCharacters = maximumCharacters }

    /// - Parameter text: a string's content, decoded.
    mutating func add(_ text: ArraySlice<UInt8>) {
        let length = text.reduce(0) { $0 + ($1 & 0xC0 == 0x80 ? 0 : 1) }
        self.count += 1
        self.minimumLength = min(self.minimumLength, length)
        self.maximumLength = max(self.maximumLength, length)
        self.totalLength += length
        // The order of UTF-8's bytes is that of the code points.
        let cut = Self.cut(text, to: self.maximumCharacters)
        if self.least == nil || cut.lexicographicallyPrecedes(self.least ?? []) { self.least = Array(cut) }
        if self.greatest.lexicographicallyPrecedes(cut) { self.greatest = Array(cut) }
        if text.isEmpty {
            self.emptyCount += 1
        } else if let pattern = TextPattern(of: text) {
            self.patterns[pattern.rawValue] += 1
        }
    }

    /// To two places.
    var meanLength: Double {
        self.count == 0 ? 0 : (Double(self.totalLength) / Double(self.count) * 100).rounded() / 100
    }

    /// The strings that are not empty.
    var filledCount: Int { self.count - self.emptyCount }

    func count(of pattern: TextPattern) -> Int { self.patterns[pattern.rawValue] }

    /// The pattern that at least nine in ten of the strings have that are not empty.
    var pattern: TextPattern? {
        TextPattern.allCases.first { self.filledCount > 0 && 10 * self.count(of: $0) >= 9 * self.filledCount }
    }

    /// The first characters of a text.
    static func cut(_ text: ArraySlice<UInt8>, to characters: Int) -> ArraySlice<UInt8> {
        guard text.count > characters else { return text }
        var left = characters
        for (index, byte) in zip(text.indices, text) where byte & 0xC0 != 0x80 {
            if left == 0 { return text[..<index] }
            left -= 1
        }
        return text
    }
}
