/// Looks at an import's first bytes: passes a byte order mark, and tells the format where nobody said it.
struct FormatSniffer: Sendable {
    enum Verdict: Sendable {
        case undecided
        case json(JSONRecordScanner.Framing)
        case csv
        case refused(RecordParseError)
    }

    private static let mark: [UInt8] = [0xEF, 0xBB, 0xBF]

    /// White space at the start of a line that is kept in case it belongs to a CSV header.
    private static let maximumHeld = 1 << 10

    private let format: ImportFormat?

    /// Bytes of the input that were looked at.
    private var offset = 0

    private var isMarkPossible = true

    /// What was looked at and is still to be read.
    private(set) var held: [UInt8] = []

    /// Where ``held`` begins.
    private(set) var lines = LineTracker()

    init(format: ImportFormat?) { self.format = format }

    /// Looks at the next byte.
    mutating func take(_ byte: UInt8) -> Verdict {
        self.held.append(byte)
        self.offset += 1
        if self.isMarkPossible {
            // No UTF-8 has these, a byte order mark of UTF-16 has both.
            if byte >= 0xFE { return .refused(RecordParseError(kind: .otherEncoding, place: .init())) }
            self.isMarkPossible = byte == Self.mark[self.offset - 1]
            guard !self.isMarkPossible else {
                if self.offset == Self.mark.count { self.begin() }
                return .undecided
            }
        }
        return self.declared ?? self.guess(byte)
    }

    /// What it is if the input ends here.
    var lastVerdict: Verdict { self.declared ?? .refused(RecordParseError(kind: .empty, place: self.lines.place(self.held.count))) }

    private var declared: Verdict? {
        switch self.format {
        case .json: .json(.document)
        case .ndjson: .json(.lines)
        case .csv: .csv
        case nil: nil
        }
    }

    private mutating func guess(_ byte: UInt8) -> Verdict {
        switch byte {
        case UInt8(ascii: "["):
            return .json(.document)
        case UInt8(ascii: "{"):
            return .json(.linesOrObject)
        case UInt8(ascii: "\n"):
            // A blank line says nothing, whatever it is.
            self.lines.feed(self.held.count - 1)
            self.drop()
            return .undecided
        case UInt8(ascii: " "), UInt8(ascii: "\t"), UInt8(ascii: "\r"):
            return self.held.count < Self.maximumHeld ? .undecided : .csv
        default:
            return .csv
        }
    }

    /// Begins the text behind a byte order mark.
    private mutating func begin() {
        self.isMarkPossible = false
        self.drop()
        self.lines.begin(at: self.offset)
    }

    private mutating func drop() {
        self.lines.base = self.offset
        self.held = []
    }
}
