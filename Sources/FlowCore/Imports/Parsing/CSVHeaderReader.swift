/// Collects the bytes of a CSV file's header, and parses the header once it is complete.
struct CSVHeaderReader: Sendable {
    private let limits: ImportLimits
    /// Position in the input at which the header starts.
    private let lines: LineTracker
    private var finder: CSVHeaderFinder
    /// The header as sent, so far.
    private var text: [UInt8] = []

    init(delimiter: UInt8?, limits: ImportLimits, lines: LineTracker) {
        self.limits = limits
        self.lines = lines
        self.finder = CSVHeaderFinder(delimiter: delimiter)
    }

    /// Consumes bytes up to the end of the header.
    /// - Parameter position: index of the first byte to consume; afterwards, of the first byte that was not consumed.
    /// - Returns: whether the header is complete.
    mutating func consume(_ bytes: Span<UInt8>, from position: inout Int) throws(RecordParseError) -> Bool {
        while position < bytes.count {
            let byte = bytes[position]
            position += 1
            guard self.text.count < self.limits.recordBytes else { throw self.fault(.largeHeader) }
            self.text.append(byte)
            if self.finder.consume(byte) { return true }
        }
        return false
    }

    /// Parses the complete header.
    /// - Returns: a scanner for the rows after the header.
    /// - Throws: an error if the header is empty or invalid, or exceeds a limit.
    func scanner() throws(RecordParseError) -> CSVRecordScanner {
        guard !self.finder.isEmpty else { throw self.fault(.empty) }
        var scanner = CSVRecordScanner(delimiter: self.finder.delimiter, limits: self.limits, lines: self.lines)
        var page = RecordPage(continuing: false, capacity: 2 * self.text.count)
        var scanOutput = RecordScanOutput()
        var position = 0
        try scanner.read(self.text.span, from: &position, into: &page, target: .max, &scanOutput)
        if scanner.needsLineEnd {
            try scanner.finish()
            let lineEnd: [UInt8] = [UInt8(ascii: "\n")]
            position = 0
            try scanner.read(lineEnd.span, from: &position, into: &page, target: .max, &scanOutput)
        }
        page.trim()
        let cells = Self.cells(page.text, scanOutput.records)
        guard cells.reduce(0, { $0 + $1.count }) <= self.limits.csvNameBytes else { throw self.fault(.longNames) }
        scanner.startRows(CSVColumns(header: cells))
        return scanner
    }

    /// The cells of the header. The header is scanned as a row without columns, so all its cells are extra cells: they
    /// are the array that is the only member of the record.
    private static func cells(_ text: [UInt8], _ records: [Range<Int>]) -> [ArraySlice<UInt8>] {
        guard let record = records.first else { return [] }
        let values = JSONMemberRanges(in: text, at: record.lowerBound).flatMap { member in
            JSONElementRanges(in: text, at: member.value.lowerBound)
        }
        return values.map { text[$0].dropFirst().dropLast() }
    }

    /// An error at the start of the header.
    private func fault(_ kind: RecordParseError.Kind) -> RecordParseError {
        RecordParseError(kind: kind, position: self.lines.position(at: 0))
    }
}
