/// An error in the input of an import, with its position. Parsing stops at it.
struct RecordParseError: Error, Hashable, Sendable {
    let kind: Kind
    let position: InputPosition

    /// What is wrong.
    enum Kind: Hashable, Sendable {
        /// The input has no bytes, or only a byte order mark, white space or line ends.
        case empty
        /// The JSON document is neither an array nor an object.
        case noRecords
        /// A byte is not allowed at this place in JSON.
        case syntax
        /// The input ends within a JSON document or record.
        case unexpectedEnd
        /// NDJSON: a line ends within a record.
        case brokenLine
        /// NDJSON: a record is followed by further data on its line.
        case secondValue
        /// JSON: the array or object is followed by further data.
        case trailingData
        /// A JSON string has a control character that is not escaped.
        case rawControl
        /// A JSON string has an escape that RFC 8259 does not define.
        case unknownEscape
        /// A JSON string has an escape of half a surrogate pair without the other half.
        case loneSurrogate
        /// A record is nested deeper than ``ImportLimits/jsonDepth``.
        case tooDeep
        /// A JSON number exceeds ``ImportLimits/numberLength``.
        case longNumber
        /// A JSON number is out of the range of a double.
        case hugeNumber
        /// The input is not valid UTF-8.
        case invalidUTF8
        /// The input starts like UTF-16.
        case otherEncoding
        /// CSV: the input ends within quoted text.
        case openQuote
        /// The CSV header has more columns than ``ImportLimits/csvColumns``.
        case tooManyColumns
        /// The CSV column names together exceed ``ImportLimits/csvNameBytes``.
        case longNames
        /// The CSV header as sent exceeds ``ImportLimits/recordBytes``.
        case largeHeader
        /// A record exceeds ``ImportLimits/recordBytes``.
        case largeRecord
        /// A CSV record exceeds ``ImportLimits/recordBytes`` within quoted text.
        case largeField
    }
}

extension RecordParseError.Kind {
    /// The stable code that the client receives.
    var code: ImportInputError.Code {
        switch self {
        case .empty: .empty
        case .noRecords, .syntax, .unexpectedEnd, .brokenLine, .secondValue, .trailingData, .rawControl, .unknownEscape,
            .loneSurrogate:
            .badJSON
        case .tooDeep: .tooDeep
        case .longNumber, .hugeNumber: .badNumber
        case .invalidUTF8, .otherEncoding: .badUTF8
        case .openQuote: .badCSV
        case .tooManyColumns, .longNames: .tooManyColumns
        case .largeHeader, .largeRecord, .largeField: .recordTooLarge
        }
    }

    /// What is wrong and what to do, as a sentence that starts in lower case.
    func reason(_ limits: ImportLimits) -> String {
        switch self {
        case .empty: "the input is empty. Send a JSON array, NDJSON or CSV."
        case .noRecords: "a JSON document must be an array of records or one object. Send other values as NDJSON, one per line."
        case .syntax: "unexpected character in JSON."
        case .unexpectedEnd: "the data ends before the JSON is complete. Send all of it."
        case .brokenLine: "the line ends before the record is complete. In NDJSON, each record must be on one line."
        case .secondValue: "extra data after the record. In NDJSON, each record must be on its own line."
        case .trailingData: "extra data after the JSON document. Send several values as NDJSON, one per line."
        case .rawControl: "unescaped control character in a JSON string. Escape it."
        case .unknownEscape: "invalid escape in a JSON string. Use only the escapes of RFC 8259."
        case .loneSurrogate: "unpaired surrogate in a JSON string. Send the whole pair or omit it."
        case .tooDeep: "objects and arrays are nested deeper than \(limits.jsonDepth) levels (FLOWHUB_MAX_JSON_DEPTH)."
        case .longNumber: "the number exceeds \(limits.numberLength) bytes. Send it as a string."
        case .hugeNumber: "the number is out of the range of a double. Send it as a string."
        case .invalidUTF8: "invalid UTF-8. Send the data in UTF-8."
        case .otherEncoding: "the data seems to be UTF-16. Send it in UTF-8."
        case .openQuote: "unterminated quoted CSV field. Close the quote that opens here."
        case .tooManyColumns: "the CSV header exceeds \(limits.csvColumns) columns (FLOWHUB_MAX_CSV_COLUMNS)."
        case .longNames: "the column names in the CSV header exceed \(limits.csvNameBytes) bytes in total. Shorten them."
        case .largeHeader: "the CSV header exceeds \(limits.recordBytes) bytes (FLOWHUB_MAX_RECORD_BYTES)."
        case .largeRecord: "the record that starts here exceeds \(limits.recordBytes) bytes (FLOWHUB_MAX_RECORD_BYTES)."
        case .largeField:
            "the record exceeds \(limits.recordBytes) bytes (FLOWHUB_MAX_RECORD_BYTES) in the quoted field that starts here."
        }
    }
}
