/// Converts CSV to records: RFC 4180 with the variants in common use.
///
/// - Lines end with CRLF, LF or CR. Empty lines are ignored.
/// - A quote starts quoted text only as the first byte of a cell; elsewhere it is an ordinary character. Text after
///   the closing quote belongs to the cell, as in spreadsheets and Python: `"a"b` is `ab`.
/// - Cells are strings and are not trimmed.
///
/// The input may be split into chunks at any byte. Between chunks the scanner keeps its state; the part of a row that
/// was read is in the page of records.
struct CSVRecordScanner: Sendable {
    /// Where the scanner is in the input.
    enum State: Sendable {
        /// At the start of a line.
        case row
        /// Before a cell.
        case cell
        /// In the text of a cell, outside quotes.
        case plain
        /// In quoted text.
        case quoted
        /// After a quote in quoted text: it ends the text, or is the first of two that stand for one.
        case quote
        /// In a character of several bytes.
        case character
        /// At the end of the line, after the last cell of the row.
        case rowEnd
    }

    /// The columns of the file; none while the header is read.
    private(set) var columns: CSVColumns
    /// The byte between two cells.
    let delimiter: UInt8
    /// Maximum number of cells of a line: ``ImportLimits/csvColumns`` for the header, unlimited for rows.
    private(set) var maximumCells: Int
    /// Maximum bytes of the record that is made from a row.
    let maximumRecord: Int
    var state = State.row

    /// Counts the input's lines, for the positions in errors.
    var lines: LineTracker

    // MARK: Row and cell

    /// Whether a row has begun and not ended.
    private(set) var isInRecord = false
    /// Number of cells of the row so far, including missing ones that were added.
    var cells = 0
    /// Number of the row's cells that are in the input. The others are missing and become `null`.
    var filled = 0
    /// Start of the row in the page.
    private var recordStart = 0
    /// Start of the row in the input.
    private var recordPosition = InputPosition()
    /// Whether the current text is in quotes.
    private(set) var isQuoted = false
    /// Position in the input of the quote that opened the current or previous quoted text.
    private var quotePosition = InputPosition()
    /// Offset in the input of the current character of several bytes.
    private var characterOffset = 0
    /// Number of bytes of that character that must follow.
    private var characterRemaining = 0
    /// Allowed range of the next byte of that character.
    private var characterNext: ClosedRange<UInt8> = 0x80...0xBF

    /// Creates a scanner that first reads the header, as one row without columns.
    init(delimiter: UInt8, limits: ImportLimits, lines: LineTracker) {
        self.columns = CSVColumns(header: [])
        self.delimiter = delimiter
        self.maximumCells = limits.csvColumns
        self.maximumRecord = limits.recordBytes
        self.lines = lines
    }

    /// Switches from the header to the rows, which have these columns.
    mutating func startRows(_ columns: CSVColumns) {
        self.columns = columns
        self.maximumCells = .max
    }
}

// MARK: Rows and cells

extension CSVRecordScanner {
    /// Number of free bytes that the page needs before a cell is written: for the cell's key, the longest escape, and
    /// the overhang of a copy in blocks.
    /// - Parameter cell: number of the cell in its row, counted from 0.
    @inline(__always)
    func room(forKeyOf cell: Int) -> Int { self.columns.key(min(cell, self.columns.count)).count + 64 }

    /// Starts a row.
    /// - Parameters:
    ///   - index: index of the row's first byte in the current chunk of input.
    ///   - out: the row's start in the page.
    mutating func beginRecord(_ index: Int, _ out: Int) {
        self.isInRecord = true
        self.cells = 0
        self.recordStart = out
        self.recordPosition = self.lines.position(at: index)
    }

    /// Adds the complete row, which ends at `end` in the page, to the output of the scan.
    mutating func endRecord(at end: Int, _ scanOutput: inout RecordScanOutput) throws(RecordParseError) {
        try self.checkSize(upTo: end)
        scanOutput.records.append(self.recordStart..<end)
        scanOutput.cells.append(self.filled)
        self.isInRecord = false
    }

    /// Rejects the current row if its bytes in the page, up to `end`, exceed the limit.
    @inline(__always)
    func checkSize(upTo end: Int) throws(RecordParseError) {
        guard self.isInRecord, end - self.recordStart > self.maximumRecord else { return }
        throw self.isQuoted
            ? RecordParseError(kind: .largeField, position: self.quotePosition)
            : RecordParseError(kind: .largeRecord, position: self.recordPosition)
    }

    /// Starts quoted text after a quote at this index of the current chunk.
    mutating func openQuote(_ index: Int) {
        self.isQuoted = true
        self.quotePosition = self.lines.position(at: index)
    }

    /// Ends quoted text, which ends at `end` in the page.
    mutating func closeQuote(at end: Int) throws(RecordParseError) {
        try self.checkSize(upTo: end)
        self.isQuoted = false
    }

    /// Continues quoted text after two quotes, which stand for one.
    mutating func reopenQuote() { self.isQuoted = true }

    /// Whether a row has started and not ended. At the end of the input, the caller must then pass a line feed.
    var needsLineEnd: Bool { self.state != .row }

    /// Checks that the input may end here.
    /// - Throws: an error if a character or quoted text is incomplete.
    func finish() throws(RecordParseError) {
        if self.state == .character {
            throw RecordParseError(kind: .invalidUTF8, position: self.lines.position(offset: self.characterOffset))
        }
        if self.isQuoted { throw RecordParseError(kind: .openQuote, position: self.quotePosition) }
    }

    // MARK: Characters

    /// Starts a character of several bytes, at this index of the current chunk.
    /// - Throws: an error if no UTF-8 character starts with the byte.
    mutating func beginCharacter(_ byte: UInt8, _ index: Int) throws(RecordParseError) {
        guard let lead = UTF8Lead(byte) else { throw self.fault(.invalidUTF8, index) }
        self.characterOffset = self.lines.base + index
        self.characterRemaining = lead.length - 1
        self.characterNext = lead.second
    }

    /// Checks a further byte of a character.
    /// - Returns: whether the character is complete.
    mutating func character(_ byte: UInt8) throws(RecordParseError) -> Bool {
        guard self.characterNext.contains(byte) else {
            throw RecordParseError(kind: .invalidUTF8, position: self.lines.position(offset: self.characterOffset))
        }
        self.characterNext = 0x80...0xBF
        self.characterRemaining -= 1
        return self.characterRemaining == 0
    }

    /// An error at an index of the current chunk.
    func fault(_ kind: RecordParseError.Kind, _ index: Int) -> RecordParseError {
        RecordParseError(kind: kind, position: self.lines.position(at: index))
    }
}
