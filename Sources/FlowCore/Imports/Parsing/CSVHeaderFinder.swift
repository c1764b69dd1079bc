/// Finds the delimiter of a CSV file and the end of its header, which depends on the delimiter.
struct CSVHeaderFinder: Sendable {
    /// The header as read with one possible delimiter.
    private struct Candidate: Sendable {
        let delimiter: UInt8
        var count = 0
        var quotes = Quotes()
    }

    /// Tracks quoted text. A doubled quote leaves quoted text and enters it again.
    private struct Quotes: Sendable {
        var isInside = false
        /// Whether a quote would open quoted text.
        var opens = true

        mutating func consume(_ byte: UInt8, isDelimiter: Bool) {
            if byte == JSONByte.quote, self.isInside || self.opens {
                self.isInside.toggle()
                self.opens = true
            } else if !self.isInside {
                self.opens = isDelimiter
            }
        }
    }

    /// In the order of preference among equally frequent ones.
    private var candidates: [Candidate]
    /// Quotes, if every candidate divided cells. A delimiter in quoted text is not counted for any candidate.
    private var quotes = Quotes()
    /// Whether there were only line ends so far.
    private(set) var isEmpty = true
    private var isDecided: Bool

    /// - Parameter delimiter: the delimiter, if it is known.
    init(delimiter: UInt8?) {
        let delimiters = delimiter.map { [$0] } ?? Array(",;\t|".utf8)
        self.candidates = delimiters.map { Candidate(delimiter: $0) }
        self.isDecided = delimiter != nil
    }

    /// The most frequent candidate so far.
    var delimiter: UInt8 { self.best.delimiter }

    private var best: Candidate {
        self.candidates.dropFirst().reduce(self.candidates[0]) { $1.count > $0.count ? $1 : $0 }
    }

    /// Processes the next byte.
    /// - Returns: whether it ends the header.
    mutating func consume(_ byte: UInt8) -> Bool {
        if byte == UInt8(ascii: "\n") || byte == UInt8(ascii: "\r") {
            if self.isEmpty { return false }
            if !self.isDecided, self.candidates.contains(where: { !$0.quotes.isInside }) {
                // Decide for the best candidate. If this line break is in its quoted text, the header continues for
                // it alone.
                self.candidates = [self.best]
                self.isDecided = true
            }
            return self.isDecided && !self.candidates[0].quotes.isInside
        }
        self.isEmpty = false
        var isDelimiter = false
        for index in self.candidates.indices {
            let isOwn = byte == self.candidates[index].delimiter
            if isOwn, !self.quotes.isInside { self.candidates[index].count += 1 }
            isDelimiter = isDelimiter || isOwn
            self.candidates[index].quotes.consume(byte, isDelimiter: isOwn)
        }
        self.quotes.consume(byte, isDelimiter: isDelimiter)
        return false
    }
}
