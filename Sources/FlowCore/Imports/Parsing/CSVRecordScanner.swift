/// Converts CSV to records: RFC 4180 with the variants in common use.
///
/// - Lines end with CRLF, LF or CR. Empty lines are ignored.
/// - A quote starts quoted text only as the first byte of a cell; elsewhere it is an ordinary character. Text after
///   the closing quote belongs to the cell, as in spreadsheets and Python: `"a"b` is `ab`.
/// - Cells are strings and are not trimmed.
///
/// The input may be split into chunks at any byte. Between chunks the scanner keeps its state; the part of a row that
/// was read is in the page.
struct CSVRecordScanner: Sendable {
    enum State: Sendable {
        /// At the start of a line.
        case row
        /// Before a cell.
        case cell
        case plain
        case quoted
        /// After a quote in quoted text: it ends the text, or is the first of two that stand for one.
        case quote
        /// In a character of several bytes.
        case character
        /// At the end of the line, after the last cell of the row.
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
    /// Number of cells of the row so far, including missing ones that were added.
    var cells = 0
    /// Number of those cells that are in the input. The others are missing and become `null`.
    var filled = 0
    /// Start of the row in the page.
    private var recordStart = 0
    private var recordPosition = InputPosition()
    /// Whether the current text is in quotes.
    private(set) var isQuoted = false
    private var quotePosition = InputPosition()
    private var characterOffset = 0
    private var characterRemaining = 0
    private var characterNext: ClosedRange<UInt8> = 0x80...0xBF

    /// Creates a scanner that first reads the header, as one row without columns.
    init(delimiter: UInt8, limits: ImportLimits, lines: LineTracker) {
        self.columns = CSVColumns(header: [])
        self.delimiter = delimiter
        self.maximumCells = limits.csvColumns
        self.maximumRecord = limits.recordBytes
        self.lines = lines
    }

    /// Switches from the header to the rows.
    mutating func startRows(_ columns: CSVColumns) {
        self.columns = columns
        self.maximumCells = .max
    }
}

// MARK: Rows and cells

extension CSVRecordScanner {
    /// Maximum number of bytes that one step writes: a key, the longest escape, and the overhang of a block copy.
    @inline(__always)
    func room(forKeyOf cell: Int) -> Int { self.columns.key(min(cell, self.columns.count)).count + 64 }

    mutating func beginRecord(_ index: Int, _ out: Int) {
        self.isInRecord = true
        self.cells = 0
        self.recordStart = out
        self.recordPosition = self.lines.position(at: index)
    }

    mutating func endRecord(at end: Int, _ scanOutput: inout RecordScanOutput) throws(RecordParseError) {
        try self.checkSize(upTo: end)
        scanOutput.records.append(self.recordStart..<end)
        scanOutput.cells.append(self.filled)
        self.isInRecord = false
    }

    /// Rejects a row as soon as its bytes in the page exceed the limit.
    @inline(__always)
    func checkSize(upTo end: Int) throws(RecordParseError) {
        guard self.isInRecord, end - self.recordStart > self.maximumRecord else { return }
        throw self.isQuoted
            ? RecordParseError(kind: .largeField, position: self.quotePosition)
            : RecordParseError(kind: .largeRecord, position: self.recordPosition)
    }

    mutating func openQuote(_ index: Int) {
        self.isQuoted = true
        self.quotePosition = self.lines.position(at: index)
    }

    mutating func closeQuote(at end: Int) throws(RecordParseError) {
        try self.checkSize(upTo: end)
        self.isQuoted = false
    }

    /// Continues quoted text after two quotes, which stand for one.
    mutating func reopenQuote() { self.isQuoted = true }

    /// Whether a line feed at the end of the input would end a row.
    var needsLineEnd: Bool { self.state != .row }

    /// Checks the end of the input.
    /// - Throws: an error if a character or quoted text is incomplete.
    func finish() throws(RecordParseError) {
        if self.state == .character {
            throw RecordParseError(kind: .invalidUTF8, position: self.lines.position(offset: self.characterOffset))
        }
        if self.isQuoted { throw RecordParseError(kind: .openQuote, position: self.quotePosition) }
    }

    // MARK: Characters

    /// Starts a character of several bytes.
    mutating func beginCharacter(_ byte: UInt8, _ index: Int) throws(RecordParseError) {
        guard let lead = UTF8Lead(byte) else { throw self.fault(.invalidUTF8, index) }
        self.characterOffset = self.lines.base + index
        self.characterRemaining = lead.length - 1
        self.characterNext = lead.second
    }

    /// Processes a further byte of a character.
    /// - Returns: whether the character is complete.
    mutating func character(_ byte: UInt8) throws(RecordParseError) -> Bool {
        guard self.characterNext.contains(byte) else {
            throw RecordParseError(kind: .invalidUTF8, position: self.lines.position(offset: self.characterOffset))
        }
        self.characterNext = 0x80...0xBF
        self.characterRemaining -= 1
        return self.characterRemaining == 0
    }

    func fault(_ kind: RecordParseError.Kind, _ index: Int) -> RecordParseError {
        RecordParseError(kind: kind, position: self.lines.position(at: index))
    }
}
