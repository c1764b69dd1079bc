/// Makes records of CSV: RFC 4180 as it is in use.
///
/// - Lines end with CRLF, LF or CR; empty ones count for nothing.
/// - A quote opens quoted text only as a cell's first byte; elsewhere it stands for itself. What follows the closing quote belongs
///   to the cell, as spreadsheets and Python have it: `"a"b` is `ab`.
/// - Cells are strings as they are, spaces included.
///
/// It takes its input in pieces, cut anywhere: all it knows at a cut is in here, and the part of a row that was read is in the page.
struct CSVRecordScanner: Sendable {
    enum State: Sendable {
        /// At a line's start.
        case row
        /// Before a cell.
        case cell
        case plain
        case quoted
        /// Behind a quote in quoted text: it ends the text, or is the first of two that stand for one.
        case quote
        /// In a character of several bytes.
        case character
        /// At the line's end, behind the row's last cell.
        case rowEnd
    }

    private(set) var columns: CSVColumns
    let delimiter: UInt8
    private(set) var maximumCells: Int
    let maximumRecord: Int
    var state = State.row

    var lines: LineTracker

    // MARK: Row and cell

    private(set) var isInRecord = false
    /// Cells of the row so far.
    var cells = 0
    /// How many of them the input has. The others are missing.
    var filled = 0
    /// Where in the page the row begins.
    private var recordStart = 0
    private var recordPlace = InputPosition()
    /// Whether the text that is being read stands in quotes.
    private(set) var isQuoted = false
    private var quotePlace = InputPosition()
    private var characterOffset = 0
    private var characterLeft = 0
    private var characterNext: ClosedRange<UInt8> = 0x80...0xBF

    /// Reads the header to begin with: one row without columns.
    init(delimiter: UInt8, limits: ImportLimits, lines: LineTracker) {
        self.columns = CSVColumns(header: [])
        self.delimiter = delimiter
        self.maximumCells = limits.csvColumns
        self.maximumRecord = limits.recordBytes
        self.lines = lines
    }

    /// Goes over to the rows.
    mutating func begin(_ columns: CSVColumns) {
        self.columns = columns
        self.maximumCells = .max
    }
}

// MARK: Rows and cells

extension CSVRecordScanner {
    /// Bytes that a step may write: a key, the longest escape, and a run's overhang.
    @inline(__always)
    func room(forKeyOf cell: Int) -> Int { self.columns.key(min(cell, self.columns.count)).count + 64 }

    mutating func beginRecord(_ index: Int, _ out: Int) {
        self.isInRecord = true
        self.cells = 0
        self.recordStart = out
        self.recordPlace = self.lines.place(index)
    }

    mutating func endRecord(at end: Int, _ findings: inout RecordScanOutput) throws(RecordParseError) {
        try self.checkSize(upTo: end)
        findings.records.append(self.recordStart..<end)
        findings.cells.append(self.filled)
        self.isInRecord = false
    }

    /// Refuses a row as soon as what is in the page is too large.
    @inline(__always)
    func checkSize(upTo end: Int) throws(RecordParseError) {
        guard self.isInRecord, end - self.recordStart > self.maximumRecord else { return }
        throw self.isQuoted
            ? RecordParseError(kind: .largeField, place: self.quotePlace) : RecordParseError(kind: .largeRecord, place: self.recordPlace)
    }

    mutating func openQuote(_ index: Int) {
        self.isQuoted = true
        self.quotePlace = self.lines.place(index)
    }

    mutating func closeQuote(at end: Int) throws(RecordParseError) {
        try self.checkSize(upTo: end)
        self.isQuoted = false
    }

    /// Goes on with a quote that did not close, as it was the first of two.
    mutating func reopenQuote() { self.isQuoted = true }

    /// Whether a line feed at the end of the input would end a row.
    var needsLineEnd: Bool { self.state != .row }

    /// - Throws: an error where the end of the input leaves something open.
    func finish() throws(RecordParseError) {
        if self.state == .character {
            throw RecordParseError(kind: .invalidUTF8, place: self.lines.place(offset: self.characterOffset))
        }
        if self.isQuoted { throw RecordParseError(kind: .openQuote, place: self.quotePlace) }
    }

    // MARK: Characters

    /// Begins a character of several bytes.
    mutating func beginCharacter(_ byte: UInt8, _ index: Int) throws(RecordParseError) {
        guard let lead = UTF8Lead(byte) else { throw self.fault(.invalidUTF8, index) }
        self.characterOffset = self.lines.base + index
        self.characterLeft = lead.length - 1
        self.characterNext = lead.second
    }

    /// - Returns: whether the character is complete.
    mutating func character(_ byte: UInt8) throws(RecordParseError) -> Bool {
        guard self.characterNext.contains(byte) else {
            throw RecordParseError(kind: .invalidUTF8, place: self.lines.place(offset: self.characterOffset))
        }
        self.characterNext = 0x80...0xBF
        self.characterLeft -= 1
        return self.characterLeft == 0
    }

    func fault(_ kind: RecordParseError.Kind, _ index: Int) -> RecordParseError { RecordParseError(kind: kind, place: self.lines.place(index)) }
}
