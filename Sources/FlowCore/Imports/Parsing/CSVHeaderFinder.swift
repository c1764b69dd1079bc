/// Finds what the cells of a CSV file are divided by, and where its header ends, which depends on it.
struct CSVHeaderFinder: Sendable {
    /// One way to read the header.
    private struct Candidate: Sendable {
        let delimiter: UInt8
        var count = 0
        var quotes = Quotes()
    }

    /// Follows quoted text. A doubled quote leaves it and enters it again.
    private struct Quotes: Sendable {
        var isInside = false
        /// Whether a quote would open quoted text.
        var opens = true

        mutating func take(_ byte: UInt8, isDelimiter: Bool) {
            if byte == JSONByte.quote, self.isInside || self.opens {
                self.isInside.toggle()
                self.opens = true
            } else if !self.isInside {
                self.opens = isDelimiter
            }
        }
    }

    /// The first of several that are equally frequent wins.
    private var candidates: [Candidate]
    /// As if each candidate divided cells, so that what stands in quotes is not counted for any.
    private var quotes = Quotes()
    /// Whether there is nothing but line ends so far.
    private(set) var isEmpty = true
    private var isDecided: Bool

    /// - Parameter delimiter: what the cells are divided by, if it is known.
    init(delimiter: UInt8?) {
        let delimiters = delimiter.map { [$0] } ?? Array(",;\t|".utf8)
        self.candidates = delimiters.map { Candidate(delimiter: $0) }
        self.isDecided = delimiter != nil
    }

    /// The most frequent candidate.
    var delimiter: UInt8 { self.best.delimiter }

    private var best: Candidate {
        self.candidates.dropFirst().reduce(self.candidates[0]) { $1.count > $0.count ? $1 : $0 }
    }

    /// Looks at the next byte.
    /// - Returns: whether it ends the header.
    mutating func take(_ byte: UInt8) -> Bool {
        if byte == UInt8(ascii: "\n") || byte == UInt8(ascii: "\r") {
            if self.isEmpty { return false }
            if !self.isDecided, self.candidates.contains(where: { !$0.quotes.isInside }) {
                // Where the best one has a line break in quotes, the header goes on for that one alone.
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
            self.candidates[index].quotes.take(byte, isDelimiter: isOwn)
        }
        self.quotes.take(byte, isDelimiter: isDelimiter)
        return false
    }
}
