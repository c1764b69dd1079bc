/// Gathers the header of a CSV file, which must be whole before it can be read.
struct CSVHeaderReader: Sendable {
    private let limits: ImportLimits
    private let lines: LineTracker
    private var finder: CSVHeaderFinder
    private var text: [UInt8] = []

    init(delimiter: UInt8?, limits: ImportLimits, lines: LineTracker) {
        self.limits = limits
        self.lines = lines
        self.finder = CSVHeaderFinder(delimiter: delimiter)
    }

    /// - Returns: whether the header is whole.
    mutating func take(_ bytes: Span<UInt8>, from position: inout Int) throws(RecordParseError) -> Bool {
        while position < bytes.count {
            let byte = bytes[position]
            position += 1
            guard self.text.count < self.limits.recordBytes else { throw self.fault(.largeHeader) }
            self.text.append(byte)
            if self.finder.take(byte) { return true }
        }
        return false
    }

    /// Reads the header.
    /// - Returns: a scanner that stands behind it.
    func scanner() throws(RecordParseError) -> CSVRecordScanner {
        guard !self.finder.isEmpty else { throw self.fault(.empty) }
        var scanner = CSVRecordScanner(delimiter: self.finder.delimiter, limits: self.limits, lines: self.lines)
        var page = RecordPage(continuing: false, capacity: 2 * self.text.count)
        var findings = RecordScanOutput()
        var position = 0
        try scanner.read(self.text.span, from: &position, into: &page, target: .max, &findings)
        if scanner.needsLineEnd {
            try scanner.finish()
            let lineEnd: [UInt8] = [UInt8(ascii: "\n")]
            position = 0
            try scanner.read(lineEnd.span, from: &position, into: &page, target: .max, &findings)
        }
        page.trim()
        let cells = Self.cells(page.text, findings.records)
        guard cells.reduce(0, { $0 + $1.count }) <= self.limits.csvNameBytes else { throw self.fault(.longNames) }
        scanner.begin(CSVColumns(header: cells))
        return scanner
    }

    /// Without columns a row is an object of which the one member has all cells.
    private static func cells(_ text: [UInt8], _ records: [Range<Int>]) -> [ArraySlice<UInt8>] {
        guard let record = records.first else { return [] }
        let values = JSONMemberRanges(in: text, at: record.lowerBound).flatMap { member in
            JSONElementRanges(in: text, at: member.value.lowerBound)
        }
        return values.map { text[$0].dropFirst().dropLast() }
    }

    private func fault(_ kind: RecordParseError.Kind) -> RecordParseError { RecordParseError(kind: kind, place: self.lines.place(0)) }
}
