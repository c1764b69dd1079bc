/// Finds the delimiter of a CSV file and the end of its header, which depends on the delimiter.
struct CSVHeaderFinder: Sendable {
    /// The header as read with one possible delimiter.
    private struct Candidate: Sendable {
        let delimiter: UInt8
        /// Number of times that the delimiter occurs outside quoted text.
        var count = 0
        /// The quoted text of the header if this is the delimiter.
        var quotes = Quotes()
    }

    /// Tracks quoted text. A doubled quote leaves quoted text and enters it again.
    private struct Quotes: Sendable {
        /// Whether the next byte is in quoted text.
        var isInside = false
        /// Whether a quote as the next byte would open quoted text.
        var opens = true

        /// Processes the next byte of the header.
        mutating func consume(_ byte: UInt8, isDelimiter: Bool) {
            if byte == JSONByte.quote, self.isInside || self.opens {
                self.isInside.toggle()
                self.opens = true
            } else if !self.isInside {
                self.opens = isDelimiter
            }
        }
    }

    /// The possible delimiters. Of equally frequent ones, the first one is preferred.
    private var candidates: [Candidate]
    /// The quoted text of the header if all candidates are delimiters. Within this text, occurrences of candidates are
    /// not counted.
    private var quotes = Quotes()
    /// Whether there were only line ends so far.
    private(set) var isEmpty = true
    /// Whether the delimiter is known. Then it is the only candidate.
    private var isDecided: Bool

    /// - Parameter delimiter: the delimiter; `nil` to detect `,`, `;`, tab or `|`.
    init(delimiter: UInt8?) {
        let delimiters = delimiter.map { [$0] } ?? Array(",;\t|".utf8)
        self.candidates = delimiters.map { Candidate(delimiter: $0) }
        self.isDecided = delimiter != nil
    }

    /// The most frequent candidate so far.
    var delimiter: UInt8 { self.best.delimiter }

    /// The candidate that occurs most often so far.
    private var best: Candidate {
        self.candidates.dropFirst().reduce(self.candidates[0]) { $1.count > $0.count ? $1 : $0 }
    }

    /// Processes the next byte of the file.
    /// - Returns: whether the byte ends the header.
    mutating func consume(_ byte: UInt8) -> Bool {
        if byte == UInt8(ascii: "\n") || byte == UInt8(ascii: "\r") {
            if self.isEmpty { return false }
            if !self.isDecided, self.candidates.contains(where: { !$0.quotes.isInside }) {
                // Decide on the best candidate. If this line break is within a cell in quotes for that candidate, the header
                // continues.
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
