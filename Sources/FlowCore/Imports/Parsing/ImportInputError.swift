/// Why an import's bytes are not taken.
///
/// Meant for whoever sent them: it says what is wrong, where, and what to do, and repeats nothing of the data.
public struct ImportInputError: Error, Hashable, Sendable, CustomStringConvertible {
    /// Stable names, for programs.
    public enum Code: String, Hashable, Sendable, CaseIterable {
        /// Nothing but white space, or nothing at all.
        case empty = "empty_import"
        case badJSON = "bad_json"
        case tooDeep = "json_too_deep"
        case badNumber = "bad_number"
        case badUTF8 = "bad_utf8"
        case badCSV = "bad_csv"
        case tooManyColumns = "too_many_columns"
        case recordTooLarge = "record_too_large"
    }

    public let code: Code

    /// Counted from 1. CRLF, LF, and in CSV a CR alone end a line.
    public let line: Int

    /// Counted from 1, in bytes of the line.
    public let column: Int

    /// The place counted in bytes from 0, a byte order mark included.
    public let offset: Int

    /// The number of the record that is broken, counted from 0; `nil` if it is not in one.
    public let record: Int?

    private let reason: String

    init(_ fault: RecordParseError, record: Int?, limits: ImportLimits) {
        self.code = fault.kind.code
        self.line = fault.place.line
        self.column = fault.place.column
        self.offset = fault.place.offset
        self.record = record
        self.reason = fault.kind.reason(limits)
    }

    public var description: String { "Line \(self.line), column \(self.column): \(self.reason)" }
}
