/// Examines the first bytes of an import: skips a byte order mark, and detects the format if the request does not
/// declare it.
struct FormatSniffer: Sendable {
    /// What is known of the format.
    enum Verdict: Sendable {
        /// More bytes are needed.
        case undecided
        /// JSON or NDJSON.
        case json(JSONRecordScanner.Framing)
        /// CSV, from the header on.
        case csv
        /// The input is empty, or is UTF-16.
        case rejected(RecordParseError)
    }

    private static let byteOrderMark: [UInt8] = [0xEF, 0xBB, 0xBF]

    /// Maximum number of bytes of white space at the start of a line that are buffered, since they may belong to a
    /// CSV header. If a line starts with this many, the format is detected as CSV.
    private static let maximumBuffered = 1 << 10

    /// Format that the request declares; `nil` to detect it.
    private let format: ImportFormat?

    /// Number of bytes examined so far.
    private var offset = 0

    /// Whether all bytes so far are the start of a byte order mark.
    private var mayHaveByteOrderMark = true

    /// Bytes that were examined and still have to be parsed.
    private(set) var buffered: [UInt8] = []

    /// Position in the input at which ``buffered`` starts.
    private(set) var lines = LineTracker()

    init(format: ImportFormat?) { self.format = format }

    /// Examines the next byte.
    mutating func consume(_ byte: UInt8) -> Verdict {
        self.buffered.append(byte)
        self.offset += 1
        if self.mayHaveByteOrderMark {
            // 0xFE and 0xFF do not occur in UTF-8, and every byte order mark of UTF-16 consists of both.
            if byte >= 0xFE { return .rejected(RecordParseError(kind: .otherEncoding, position: .init())) }
            self.mayHaveByteOrderMark = byte == Self.byteOrderMark[self.offset - 1]
            guard !self.mayHaveByteOrderMark else {
                if self.offset == Self.byteOrderMark.count { self.skipByteOrderMark() }
                return .undecided
            }
        }
        return self.declared ?? self.guess(byte)
    }

    /// The verdict if the input ends here.
    var lastVerdict: Verdict {
        self.declared ?? .rejected(RecordParseError(kind: .empty, position: self.lines.position(at: self.buffered.count)))
    }

    /// The verdict by the format that the request declares; `nil` if it declares none.
    private var declared: Verdict? {
        switch self.format {
        case .json: .json(.document)
        case .ndjson: .json(.lines)
        case .csv: .csv
        case nil: nil
        }
    }

    /// The verdict by the first byte that is not white space. Until then, buffers white space and skips blank lines.
    private mutating func guess(_ byte: UInt8) -> Verdict {
        switch byte {
        case UInt8(ascii: "["):
            return .json(.document)
        case UInt8(ascii: "{"):
            return .json(.linesOrObject)
        case UInt8(ascii: "\n"):
            // Skip blank lines, which are ignored in every format.
            self.lines.lineFeed(at: self.buffered.count - 1)
            self.drop()
            return .undecided
        case UInt8(ascii: " "), UInt8(ascii: "\t"), UInt8(ascii: "\r"):
            return self.buffered.count < Self.maximumBuffered ? .undecided : .csv
        default:
            return .csv
        }
    }

    /// Starts the text after a complete byte order mark, which does not count for columns.
    private mutating func skipByteOrderMark() {
        self.mayHaveByteOrderMark = false
        self.drop()
        self.lines.startFirstLine(at: self.offset)
    }

    /// Discards the buffered bytes, so that they are not parsed.
    private mutating func drop() {
        self.lines.base = self.offset
        self.buffered = []
    }
}
