/// Finds and validates the records in JSON or NDJSON, and copies them without the white space between tokens.
///
/// The input may be split into chunks at any byte. Between chunks the scanner keeps its state; the part of a record
/// that was read is in the page. Each byte is examined once.
struct JSONRecordScanner: Sendable {
    enum Framing: Sendable {
        /// JSON whose first byte was not read yet.
        case document
        case array
        case object
        case lines
        /// The input starts with a brace. If that object ends on its line, the input is NDJSON; else it is a single
        /// object.
        case linesOrObject
    }

    /// What the grammar allows next.
    enum State: Sendable {
        // Between records.
        /// JSON: the document's first byte.
        case document
        /// JSON: a record, or the array's end.
        case firstRecord
        /// JSON: a record, after a comma.
        case record
        /// JSON: a comma, or the array's end.
        case afterRecord
        /// NDJSON: a record, or the end of a blank line.
        case line
        /// NDJSON: the line's end.
        case afterLine
        /// JSON: only white space.
        case done

        // Between a record's tokens.
        case value
        case firstElement
        case key
        case firstKey
        case colon
        case afterValue

        // Within a token.
        case string
        case escape
        case hexadecimal
        case lowBackslash
        case lowLetter
        case character
        case number
        case literal
    }

    private(set) var framing: Framing
    var state: State
    var nesting = JSONNesting()
    let maximumDepth: Int
    let maximumNumberLength: Int
    let maximumRecord: Int

    var lines: LineTracker

    // MARK: Record

    private(set) var isInRecord = false
    /// Start of the record in the page.
    private var recordStart = 0
    private var recordPosition = InputPosition()

    // MARK: Token

    /// Whether the current string is a member's name.
    var isKey = false
    /// Range in the page of the last name at the top level of the record, without quotes.
    var key = 0..<0
    /// Offset at which an error in the current token is reported: the start of the escape, character or number.
    var tokenOffset = 0
    var unicode = JSONUnicodeState()
    var number = JSONNumberState()
    /// The remaining bytes of the literal, the next one in the lowest 8 bits.
    var literal: UInt32 = 0

    init(framing: Framing, limits: ImportLimits, lines: LineTracker) {
        self.framing = framing
        self.maximumDepth = min(limits.jsonDepth, JSONLimits.greatestDepth)
        self.maximumNumberLength = limits.numberLength
        self.maximumRecord = limits.recordBytes
        self.lines = lines
        self.state =
            switch framing {
            case .document, .array, .object: .document
            case .lines, .linesOrObject: .line
            }
    }
}

// MARK: Records

extension JSONRecordScanner {
    mutating func beginRecord(_ index: Int, _ out: Int) {
        self.isInRecord = true
        self.recordStart = out
        self.recordPosition = self.lines.position(at: index)
    }

    /// The state after a value that ends at `end`.
    @inline(__always)
    mutating func afterValue(at end: Int, _ scanOutput: inout RecordScanOutput) throws(RecordParseError) -> State {
        self.nesting.depth > 0 ? .afterValue : try self.endRecord(at: end, &scanOutput)
    }

    private mutating func endRecord(at end: Int, _ scanOutput: inout RecordScanOutput) throws(RecordParseError) -> State {
        try self.checkSize(upTo: end)
        scanOutput.records.append(self.recordStart..<end)
        scanOutput.members.append(.end)
        self.isInRecord = false
        switch self.framing {
        case .array, .document: return .afterRecord
        case .object: return .done
        case .linesOrObject: self.framing = .lines
        case .lines: break
        }
        return .afterLine
    }

    /// Rejects a record as soon as its bytes in the page exceed the limit.
    func checkSize(upTo end: Int) throws(RecordParseError) {
        guard self.isInRecord, end - self.recordStart > self.maximumRecord else { return }
        throw RecordParseError(kind: .largeRecord, position: self.recordPosition)
    }

    /// The state after a byte between records; `nil` if the byte is the first one of a record.
    mutating func opening(_ byte: UInt8, _ index: Int, _ state: State) throws(RecordParseError) -> State? {
        switch (state, byte) {
        case (.document, UInt8(ascii: "[")):
            self.framing = .array
            return .firstRecord
        case (.document, UInt8(ascii: "{")):
            self.framing = .object
            return nil
        case (.document, _):
            throw self.fault(.noRecords, index)
        case (.firstRecord, UInt8(ascii: "]")):
            return .done
        default:
            return nil
        }
    }

    /// The state after a byte that follows a record.
    func following(_ byte: UInt8, _ index: Int, _ state: State) throws(RecordParseError) -> State {
        switch (state, byte) {
        case (.afterRecord, UInt8(ascii: ",")): return .record
        case (.afterRecord, UInt8(ascii: "]")): return .done
        case (.afterRecord, _): throw self.fault(.syntax, index)
        case (.afterLine, _): throw self.fault(.secondValue, index)
        default: throw self.fault(.trailingData, index)
        }
    }

    // MARK: Errors and white space

    func fault(_ kind: RecordParseError.Kind, _ index: Int) -> RecordParseError {
        RecordParseError(kind: kind, position: self.lines.position(at: index))
    }

    /// An error at the offset of the current token.
    func tokenFault(_ kind: RecordParseError.Kind) -> RecordParseError {
        RecordParseError(kind: kind, position: self.lines.position(offset: self.tokenOffset))
    }

    /// Skips white space between tokens.
    @inline(__always)
    mutating func skip(_ space: UInt8, _ index: inout Int) throws(RecordParseError) {
        if space != 0x20 { try self.lineOrTab(space, index) }
        index += 1
    }

    private mutating func lineOrTab(_ space: UInt8, _ index: Int) throws(RecordParseError) {
        switch space {
        case UInt8(ascii: "\n"):
            if self.isInRecord {
                if self.framing == .lines { throw self.fault(.brokenLine, index) }
                if self.framing == .linesOrObject { self.framing = .object }
            }
            self.lines.lineFeed(at: index)
        case UInt8(ascii: "\t"), UInt8(ascii: "\r"):
            break
        default:
            throw self.fault(.syntax, index)
        }
    }

    // MARK: End

    /// Whether a line feed at the end of the input would end a record. A number ends only with the byte that follows
    /// it.
    var needsLineEnd: Bool {
        self.framing == .lines && self.nesting.depth == 0 && self.state == .number && self.number.phase.isComplete
    }

    /// Checks the end of the input.
    /// - Throws: an error if the document is empty or incomplete.
    func finish() throws(RecordParseError) {
        switch self.state {
        case .done, .line, .afterLine: return
        case .document: throw self.fault(.empty, 0)
        default: throw self.fault(.unexpectedEnd, 0)
        }
    }
}
