/// Reason why the content of an import's body is rejected.
///
/// It is meant for the client: it says what is wrong, where, and what to do, and repeats nothing of the data.
public struct ImportInputError: Error, Hashable, Sendable, CustomStringConvertible {
    /// Stable codes for programs.
    public enum Code: String, Hashable, Sendable, CaseIterable {
        /// The body has no bytes, or only white space.
        case empty = "empty_import"
        /// JSON is invalid or incomplete, or a JSON document is neither an array nor an object.
        case badJSON = "bad_json"
        /// Objects and arrays of a record are nested deeper than ``ImportLimits/jsonDepth``.
        case tooDeep = "json_too_deep"
        /// A number exceeds ``ImportLimits/numberLength`` or the range of a double.
        case badNumber = "bad_number"
        /// The body is not valid UTF-8.
        case badUTF8 = "bad_utf8"
        /// CSV ends within quoted text.
        case badCSV = "bad_csv"
        /// A CSV header exceeds ``ImportLimits/csvColumns`` or ``ImportLimits/csvNameBytes``.
        case tooManyColumns = "too_many_columns"
        /// A record or a CSV header exceeds ``ImportLimits/recordBytes``.
        case recordTooLarge = "record_too_large"
    }

    public let code: Code

    /// Line of the error, counted from 1. CRLF and LF end a line; in CSV, so does a single CR.
    public let line: Int

    /// Position of the error in its line, in bytes, counted from 1.
    public let column: Int

    /// Position of the error in the input, in bytes, counted from 0, including a byte order mark.
    public let offset: Int

    /// Number of the invalid record, counted from 0; `nil` if the error is not in a record.
    public let record: Int?

    /// What is wrong and what to do, as a sentence that starts in lower case.
    private let reason: String

    init(_ fault: RecordParseError, record: Int?, limits: ImportLimits) {
        self.code = fault.kind.code
        self.line = fault.position.line
        self.column = fault.position.column
        self.offset = fault.position.offset
        self.record = record
        self.reason = fault.kind.reason(limits)
    }

    public var description: String { "Line \(self.line), column \(self.column): \(self.reason)" }
}
