/// Finds the records in JSON or NDJSON, checks them, and copies them without the white space between tokens.
///
/// It takes its input in pieces, cut anywhere: all it knows at a cut is in here, and the part of a record that was read is in the
/// page. Each byte is looked at once.
struct JSONRecordScanner: Sendable {
    enum Framing: Sendable {
        /// JSON, before its first byte.
        case document
        case array
        case object
        case lines
        /// The input's first byte is a brace: an object that has a line to itself is the first of several, any other one is alone.
        case linesOrObject
    }

    /// What the grammar allows next.
    enum State: Sendable {
        // Between records.
        /// JSON: the document's first byte.
        case document
        /// JSON: a record, or the array's end.
        case firstRecord
        /// JSON: a record, behind a comma.
        case record
        /// JSON: a comma, or the array's end.
        case afterRecord
        /// NDJSON: a record, or the end of a blank line.
        case line
        /// NDJSON: the line's end.
        case afterLine
        /// JSON: nothing.
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
    /// Where in the page the record begins.
    private var recordStart = 0
    private var recordPlace = InputPosition()

    // MARK: Token

    /// Whether the string is a member's name.
    var isKey = false
    /// Where in the page the last name at the record's top is, without quotes.
    var key = 0..<0
    /// The offset of what an error in the token is reported at: the escape, the character, the number.
    var tokenOffset = 0
    var unicode = JSONUnicodeState()
    var number = JSONNumberState()
    /// The rest of the literal, the next byte lowest.
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
        self.recordPlace = self.lines.place(index)
    }

    /// The state after a value that ends at `end`.
    @inline(__always)
    mutating func afterValue(at end: Int, _ findings: inout RecordScanOutput) throws(RecordParseError) -> State {
        self.nesting.depth > 0 ? .afterValue : try self.endRecord(at: end, &findings)
    }

    private mutating func endRecord(at end: Int, _ findings: inout RecordScanOutput) throws(RecordParseError) -> State {
        try self.checkSize(upTo: end)
        findings.records.append(self.recordStart..<end)
        findings.members.append(.end)
        self.isInRecord = false
        switch self.framing {
        case .array, .document: return .afterRecord
        case .object: return .done
        case .linesOrObject: self.framing = .lines
        case .lines: break
        }
        return .afterLine
    }

    /// Refuses a record as soon as what is in the page is too large.
    func checkSize(upTo end: Int) throws(RecordParseError) {
        guard self.isInRecord, end - self.recordStart > self.maximumRecord else { return }
        throw RecordParseError(kind: .largeRecord, place: self.recordPlace)
    }

    /// The state after a byte between records that is no record's first; `nil` if it is one.
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

    /// The state after a byte behind a record.
    func following(_ byte: UInt8, _ index: Int, _ state: State) throws(RecordParseError) -> State {
        switch (state, byte) {
        case (.afterRecord, UInt8(ascii: ",")): return .record
        case (.afterRecord, UInt8(ascii: "]")): return .done
        case (.afterRecord, _): throw self.fault(.syntax, index)
        case (.afterLine, _): throw self.fault(.secondValue, index)
        default: throw self.fault(.trailingData, index)
        }
    }

    // MARK: Places

    func fault(_ kind: RecordParseError.Kind, _ index: Int) -> RecordParseError { RecordParseError(kind: kind, place: self.lines.place(index)) }

    /// At the token's offset.
    func tokenFault(_ kind: RecordParseError.Kind) -> RecordParseError {
        RecordParseError(kind: kind, place: self.lines.place(offset: self.tokenOffset))
    }

    /// Passes white space between tokens.
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
            self.lines.feed(index)
        case UInt8(ascii: "\t"), UInt8(ascii: "\r"):
            break
        default:
            throw self.fault(.syntax, index)
        }
    }

    // MARK: End

    /// Whether a line feed at the end of the input would end a record: nothing else ends a number.
    var needsLineEnd: Bool {
        self.framing == .lines && self.nesting.depth == 0 && self.state == .number && self.number.phase.isComplete
    }

    /// - Throws: an error where the end of the input leaves something open.
    func finish() throws(RecordParseError) {
        switch self.state {
        case .done, .line, .afterLine: return
        case .document: throw self.fault(.empty, 0)
        default: throw self.fault(.unexpectedEnd, 0)
        }
    }
}
