/// Finds and validates the records in JSON or NDJSON, and copies them without the white space between tokens.
///
/// The input may be split into chunks at any byte. Between chunks the scanner keeps its state; the part of a record
/// that was read is in the page of records. Each byte is examined once.
struct JSONRecordScanner: Sendable {
    /// How the input is divided into records.
    enum Framing: Sendable {
        /// JSON of which only white space was read so far: whether it is an array or one object is undecided.
        case document
        /// JSON: the elements of one array are the records.
        case array
        /// JSON: one object is the only record.
        case object
        /// NDJSON: one record per line.
        case lines
        /// The input starts with a brace. If that object ends on the line on which it starts, the input is NDJSON; else
        /// the input is that single object.
        case linesOrObject
    }

    /// What the grammar allows next.
    enum State: Sendable {
        // Between records.
        /// JSON: the bracket or brace with which the document starts.
        case document
        /// JSON: a record, or the array's end.
        case firstRecord
        /// JSON: a record, after a comma.
        case record
        /// JSON: a comma, or the array's end.
        case afterRecord
        /// NDJSON: a record, or the end of a blank line.
        case line
        /// NDJSON: the line's end, after a record.
        case afterLine
        /// JSON: only white space.
        case done

        // Between a record's tokens.
        /// A value: the record itself, a member's value after the colon, or an array's element after a comma.
        case value
        /// An array's first element, or its end.
        case firstElement
        /// A member's name, after a comma.
        case key
        /// An object's first name, or its end.
        case firstKey
        /// The colon after a member's name.
        case colon
        /// A comma, or the end of the object or array.
        case afterValue

        // Within a token.
        /// A further byte of a string or a member's name, or its closing quote.
        case string
        /// The byte after a backslash.
        case escape
        /// A digit of a `\u` escape.
        case hexadecimal
        /// The backslash of the `\u` escape that is the second half of a surrogate pair.
        case lowBackslash
        /// The `u` of the `\u` escape that is the second half of a surrogate pair.
        case lowLetter
        /// A further byte of a character of several bytes.
        case character
        /// A further byte of a number, or the byte after its end.
        case number
        /// A further byte of `true`, `false` or `null`.
        case literal
    }

    private(set) var framing: Framing
    var state: State
    /// The objects and arrays of the record that have begun and not ended.
    var nesting = JSONNesting()
    /// Maximum depth to which objects and arrays of a record are nested.
    let maximumDepth: Int
    /// Maximum bytes of a number.
    let maximumNumberLength: Int
    /// Maximum bytes of a record.
    let maximumRecord: Int

    /// Counts the input's lines, for the positions in errors.
    var lines: LineTracker

    // MARK: Record

    /// Whether a record has begun and not ended.
    private(set) var isInRecord = false
    /// Start of the record in the page.
    private var recordStart = 0
    /// Start of the record in the input.
    private var recordPosition = InputPosition()

    // MARK: Token

    /// Whether the current string is a member's name.
    var isKey = false
    /// Range in the page of the member name that was read most recently at the top level of the current record,
    /// without its quotes.
    var key = 0..<0
    /// Offset in the input at which an error in the current token is reported: the start of the escape, character or
    /// number.
    var tokenOffset = 0
    var unicode = JSONUnicodeState()
    var number = JSONNumberState()
    /// The remaining bytes of the current `true`, `false` or `null`, the next one in the lowest 8 bits.
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
    /// Starts a record.
    /// - Parameters:
    ///   - index: index of the record's first byte in the current chunk of input.
    ///   - out: the record's start in the page.
    mutating func beginRecord(_ index: Int, _ out: Int) {
        self.isInRecord = true
        self.recordStart = out
        self.recordPosition = self.lines.position(at: index)
    }

    /// Ends a value, which ends at `end` in the page. If the value is not nested, the record ends there, too.
    /// - Returns: the state for the next byte.
    @inline(__always)
    mutating func afterValue(at end: Int, _ scanOutput: inout RecordScanOutput) throws(RecordParseError) -> State {
        self.nesting.depth > 0 ? .afterValue : try self.endRecord(at: end, &scanOutput)
    }

    /// Adds the complete record, which ends at `end` in the page, to the output of the scan.
    /// - Returns: the state for the next byte.
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

    /// Rejects the current record if its bytes in the page, up to `end`, exceed the limit.
    func checkSize(upTo end: Int) throws(RecordParseError) {
        guard self.isInRecord, end - self.recordStart > self.maximumRecord else { return }
        throw RecordParseError(kind: .largeRecord, position: self.recordPosition)
    }

    /// Processes a byte that may be the first one of a record.
    /// - Parameters:
    ///   - index: index of the byte in the current chunk of input.
    ///   - state: the state before the byte.
    /// - Returns: the state after the byte if the byte is a bracket of the array of records; `nil` if a record starts
    ///   with the byte.
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

    /// The state after a byte that follows a record and is not white space.
    /// - Parameters:
    ///   - index: index of the byte in the current chunk of input.
    ///   - state: the state before the byte.
    /// - Throws: an error unless the byte is a comma or the end of the array of records.
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

    /// An error at an index of the current chunk.
    func fault(_ kind: RecordParseError.Kind, _ index: Int) -> RecordParseError {
        RecordParseError(kind: kind, position: self.lines.position(at: index))
    }

    /// An error at ``tokenOffset``.
    func tokenFault(_ kind: RecordParseError.Kind) -> RecordParseError {
        RecordParseError(kind: kind, position: self.lines.position(offset: self.tokenOffset))
    }

    /// Skips a byte between tokens whose value is at most 0x20 (a space), and advances `index` past it.
    /// - Throws: an error if the byte is not white space, or ends a line within a record of NDJSON.
    @inline(__always)
    mutating func skip(_ space: UInt8, _ index: inout Int) throws(RecordParseError) {
        if space != 0x20 { try self.lineOrTab(space, index) }
        index += 1
    }

    /// Checks a byte between tokens whose value is below 0x20, and counts lines. A line feed within the first object of
    /// ``Framing/linesOrObject`` decides that the input is a single object.
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

    /// Whether the input ends with a number that is a record of NDJSON. The scanner ends a number only at the
    /// byte after it, so the caller must then pass a line feed.
    var needsLineEnd: Bool {
        self.framing == .lines && self.nesting.depth == 0 && self.state == .number && self.number.phase.isComplete
    }

    /// Checks that the input may end here.
    /// - Throws: an error if the document is empty or incomplete.
    func finish() throws(RecordParseError) {
        switch self.state {
        case .done, .line, .afterLine: return
        case .document: throw self.fault(.empty, 0)
        default: throw self.fault(.unexpectedEnd, 0)
        }
    }
}
