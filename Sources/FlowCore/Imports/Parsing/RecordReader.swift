/// Parses the bytes of an import as they arrive and writes its records to pages.
///
/// Its memory is bounded by the limits for any input, however it is split into chunks. A record's text is kept as
/// sent, including number tokens, escapes, the order of members and repeated members. Only white space between tokens
/// is removed.
///
/// A CSV row becomes an object of strings. Missing cells become `null`; extra cells become an array of strings under
/// `_extra`.
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
/// After an error the reader must not be used again.
public struct RecordReader: Sendable {
    /// Bytes of input that are processed per step: few enough that they and their output fit into the nearest caches
    /// of the processor.
    private static let step = 1 << 14

    /// The stages of reading: the first of these four that is not `nil` receives the next byte.
    private var sniffer: FormatSniffer?
    private var header: CSVHeaderReader?
    private var json: JSONRecordScanner?
    private var csv: CSVRecordScanner?

    private let limits: ImportLimits
    /// The byte between the cells of CSV; `nil` to detect it.
    private let delimiter: UInt8?
    /// The records, and their members or cells, that the scanner found in the current step.
    private var scanOutput = RecordScanOutput()

    /// Number of complete records so far.
    public private(set) var recordCount = 0

    /// Counts of the fields of the records so far.
    public private(set) var summary: FieldSummary

    /// - Parameters:
    ///   - format: `nil` to detect it from the first bytes: `[` means JSON, `{` means NDJSON or one object of one or
    ///     more lines, anything else means CSV.
    ///   - delimiter: the byte between the cells of CSV; `nil` to detect `,`, `;`, tab or `|` from the header.
    public init(format: ImportFormat?, limits: ImportLimits = .init(), delimiter: UInt8? = nil) {
        self.sniffer = FormatSniffer(format: format)
        self.limits = limits
        self.delimiter = delimiter
        self.summary = FieldSummary(limits: limits)
    }

    /// Consumes bytes until all are consumed or the page is full.
    ///
    /// - Parameters:
    ///   - page: the same page until it is full.
    ///   - target: number of bytes at which a page is full, at least 1. A page exceeds this number by the rest
    ///     of its last record.
    /// - Returns: the position of the first byte that was not consumed. If that is not the end of `bytes`, the page
    ///   is full; continue with a new page.
    public mutating func read(
        _ bytes: Span<UInt8>, from position: Int, into page: inout RecordPage, target: Int
    ) throws(ImportInputError) -> Int {
        precondition(target > 0, "target must be at least 1")
        do throws(RecordParseError) {
            var position = position
            try self.detectFormat(bytes, from: &position, into: &page)
            try self.feed(bytes, from: &position, into: &page, target: target)
            return position
        } catch {
            throw self.error(error)
        }
    }

    /// Ends the input: completes a last record that has no line end, and adds it to the page.
    /// - Throws: an error if the input is empty or incomplete.
    public mutating func finish(into page: inout RecordPage) throws(ImportInputError) {
        do throws(RecordParseError) {
            if let sniffer = self.sniffer { try self.decide(sniffer.lastVerdict, into: &page) }
            if let header = self.header { try self.startRows(header.scanner()) }
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

    /// The error for the client, with the number of the current record.
    private func error(_ fault: RecordParseError) -> ImportInputError {
        let isInRecord = self.json?.isInRecord ?? self.csv?.isInRecord ?? false
        return ImportInputError(fault, record: isInRecord ? self.recordCount : nil, limits: self.limits)
    }

    // MARK: Format and header

    /// Consumes bytes until the format is known and, for CSV, the header is complete.
    private mutating func detectFormat(
        _ bytes: Span<UInt8>, from position: inout Int, into page: inout RecordPage
    ) throws(RecordParseError) {
        while self.sniffer != nil, position < bytes.count {
            let verdict = self.sniffer?.consume(bytes[position]) ?? .undecided
            position += 1
            try self.decide(verdict, into: &page)
        }
        try self.readHeader(bytes, from: &position)
    }

    /// Creates the scanner of the detected format and passes to it the bytes that were buffered. Does nothing while the
    /// format is undecided.
    private mutating func decide(_ verdict: FormatSniffer.Verdict, into page: inout RecordPage) throws(RecordParseError) {
        guard let sniffer = self.sniffer else { return }
        var position = 0
        switch verdict {
        case .undecided:
            return
        case .rejected(let fault):
            throw fault
        case .csv:
            self.header = CSVHeaderReader(delimiter: self.delimiter, limits: self.limits, lines: sniffer.lines)
            try self.readHeader(sniffer.buffered.span, from: &position)
        case .json(let framing):
            self.json = JSONRecordScanner(framing: framing, limits: self.limits, lines: sniffer.lines)
            try self.feed(sniffer.buffered.span, from: &position, into: &page, target: .max)
        }
        self.sniffer = nil
    }

    /// Consumes bytes of the CSV header, if that is the current stage. Starts the rows when it is complete.
    private mutating func readHeader(_ bytes: Span<UInt8>, from position: inout Int) throws(RecordParseError) {
        guard try self.header?.consume(bytes, from: &position) == true, let header = self.header else { return }
        try self.startRows(header.scanner())
    }

    /// Replaces the header reader by the scanner of the rows.
    private mutating func startRows(_ scanner: CSVRecordScanner) {
        self.header = nil
        self.csv = scanner
        self.summary.setColumns(scanner.columns)
    }

    // MARK: Records

    /// Passes bytes to the scanner in steps, and adds its records to page and summary, until all bytes are consumed or
    /// the page is full.
    private mutating func feed(
        _ bytes: Span<UInt8>, from position: inout Int, into page: inout RecordPage, target: Int
    ) throws(RecordParseError) {
        defer { page.trim() }
        while position < bytes.count {
            let chunk = bytes.extracting(position..<min(position + Self.step, bytes.count))
            self.scanOutput.clear(continuing: page.hasPredecessor)
            // Deferred, so that after an error the count includes the records before the invalid one: the count is the
            // invalid record's number.
            defer { self.recordCount += self.scanOutput.records.count }
            var consumed = 0
            try self.json?.read(chunk, from: &consumed, into: &page, target: target, &self.scanOutput)
            try self.csv?.read(chunk, from: &consumed, into: &page, target: target, &self.scanOutput)
            page.add(self.scanOutput.records)
            self.summary.add(self.scanOutput.members, in: page.text.span)
            self.summary.addRows(self.scanOutput.cells)
            position += consumed
            if consumed < chunk.count { return }
        }
    }
}
