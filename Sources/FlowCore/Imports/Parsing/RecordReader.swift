/// Reads an import's bytes as they come and lays its records on pages.
///
/// It holds no more than the limits allow, however the input is cut into pieces and whatever it is. A record's text is kept as
/// it came: number tokens, escapes, the members' order, repeated members; only white space between tokens is taken out.
///
/// A row of CSV becomes an object of strings. One that is too short has `null` for what it lacks, a longer one has the rest in an
/// array of strings under `_extra`.
///
/// ```swift
/// while position < bytes.count {
///     position = try reader.read(bytes.span, from: position, into: &page, target: 1 << 20)
///     if position < bytes.count {
///         store(page)
///         page = RecordPage(continuing: true, capacity: 1 << 20)
///     }
/// }
/// ```
///
/// Once it has thrown, it is of no more use.
public struct RecordReader: Sendable {
    /// How much input is taken at a time: what it becomes fits a processor's nearest caches.
    private static let step = 1 << 14

    /// Where it stands: the first of these that there is has the next byte.
    private var sniffer: FormatSniffer?
    private var header: CSVHeaderReader?
    private var json: JSONRecordScanner?
    private var csv: CSVRecordScanner?

    private let limits: ImportLimits
    private let delimiter: UInt8?
    private var findings = RecordScanOutput()

    /// Whole records so far.
    public private(set) var recordCount = 0

    /// What fields they have.
    public private(set) var summary: FieldSummary

    /// - Parameters:
    ///   - format: `nil` lets the first bytes decide: `[` begins JSON, `{` begins NDJSON or one object that may have several
    ///     lines, and anything else CSV.
    ///   - delimiter: what divides the cells of CSV; `nil` lets the header decide between `,`, `;`, tab and `|`.
    public init(format: ImportFormat?, limits: ImportLimits = .init(), delimiter: UInt8? = nil) {
        self.sniffer = FormatSniffer(format: format)
        self.limits = limits
        self.delimiter = delimiter
        self.summary = FieldSummary(limits: limits)
    }

    /// Takes bytes until all are taken or the page is full.
    ///
    /// - Parameters:
    ///   - page: the same one until it is full.
    ///   - target: how many bytes make a page full, at least one. It becomes longer by the rest of its last record.
    /// - Returns: the position of the first byte that was not taken. If there is one, the page is full, and it is for a new page.
    public mutating func read(
        _ bytes: Span<UInt8>, from position: Int, into page: inout RecordPage, target: Int
    ) throws(ImportInputError) -> Int {
        precondition(target > 0, "a page needs room for a record")
        do throws(RecordParseError) {
            var position = position
            try self.begin(bytes, from: &position, into: &page)
            try self.feed(bytes, from: &position, into: &page, target: target)
            return position
        } catch {
            throw self.error(error)
        }
    }

    /// Ends the input: reads what only its end makes whole, and checks that nothing is left open.
    public mutating func finish(into page: inout RecordPage) throws(ImportInputError) {
        do throws(RecordParseError) {
            if let sniffer = self.sniffer { try self.decide(sniffer.lastVerdict, into: &page) }
            if let header = self.header { try self.begin(header.scanner()) }
            try self.csv?.finish()
            if self.json?.needsLineEnd ?? self.csv?.needsLineEnd ?? false {
                let lineEnd: [UInt8] = [UInt8(ascii: "\n")]
                var position = 0
                try self.feed(lineEnd.span, from: &position, into: &page, target: .max)
            }
            try self.json?.finish()
        } catch {
            throw self.error(error)
        }
    }

    private func error(_ fault: RecordParseError) -> ImportInputError {
        let isInRecord = self.json?.isInRecord ?? self.csv?.isInRecord ?? false
        return ImportInputError(fault, record: isInRecord ? self.recordCount : nil, limits: self.limits)
    }

    // MARK: Begin

    /// Takes bytes until it is known what they are, and the header of CSV.
    private mutating func begin(_ bytes: Span<UInt8>, from position: inout Int, into page: inout RecordPage) throws(RecordParseError) {
        while self.sniffer != nil, position < bytes.count {
            let verdict = self.sniffer?.take(bytes[position]) ?? .undecided
            position += 1
            try self.decide(verdict, into: &page)
        }
        try self.readHeader(bytes, from: &position)
    }

    private mutating func decide(_ verdict: FormatSniffer.Verdict, into page: inout RecordPage) throws(RecordParseError) {
        guard let sniffer = self.sniffer else { return }
        var position = 0
        switch verdict {
        case .undecided:
            return
        case .refused(let fault):
            throw fault
        case .csv:
            self.header = CSVHeaderReader(delimiter: self.delimiter, limits: self.limits, lines: sniffer.lines)
            try self.readHeader(sniffer.held.span, from: &position)
        case .json(let framing):
            self.json = JSONRecordScanner(framing: framing, limits: self.limits, lines: sniffer.lines)
            try self.feed(sniffer.held.span, from: &position, into: &page, target: .max)
        }
        self.sniffer = nil
    }

    private mutating func readHeader(_ bytes: Span<UInt8>, from position: inout Int) throws(RecordParseError) {
        guard try self.header?.take(bytes, from: &position) == true, let header = self.header else { return }
        try self.begin(header.scanner())
    }

    private mutating func begin(_ scanner: CSVRecordScanner) {
        self.header = nil
        self.csv = scanner
        self.summary.begin(scanner.columns)
    }

    // MARK: Go on

    private mutating func feed(
        _ bytes: Span<UInt8>, from position: inout Int, into page: inout RecordPage, target: Int
    ) throws(RecordParseError) {
        defer { page.trim() }
        while position < bytes.count {
            let piece = bytes.extracting(position..<min(position + Self.step, bytes.count))
            self.findings.clear(continuing: page.hasPredecessor)
            // Also where the next record turns out to be broken.
            defer { self.recordCount += self.findings.records.count }
            var taken = 0
            try self.json?.read(piece, from: &taken, into: &page, target: target, &self.findings)
            try self.csv?.read(piece, from: &taken, into: &page, target: target, &self.findings)
            page.add(self.findings.records)
            self.summary.add(self.findings.members, in: page.text.span)
            self.summary.addRows(self.findings.cells)
            position += taken
            if taken < piece.count { return }
        }
    }
}
