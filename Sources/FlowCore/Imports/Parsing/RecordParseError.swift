/// What a scanner stops at.
struct RecordParseError: Error, Hashable, Sendable {
    let kind: Kind
    let place: InputPosition

    enum Kind: Hashable, Sendable {
        case empty
        case noRecords
        case syntax
        case unexpectedEnd
        case brokenLine
        case secondValue
        case trailingData
        case rawControl
        case unknownEscape
        case loneSurrogate
        case tooDeep
        case longNumber
        case hugeNumber
        case invalidUTF8
        case otherEncoding
        case openQuote
        case tooManyColumns
        case longNames
        case largeHeader
        case largeRecord
        case largeField
    }
}

extension RecordParseError.Kind {
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

    func reason(_ limits: ImportLimits) -> String {
        switch self {
        case .empty: "there is no data. Send a JSON array, NDJSON or CSV."
        case .noRecords: "JSON must be an array of records or one object here. Send values one a line as NDJSON."
        case .syntax: "JSON has no place for this byte here."
        case .unexpectedEnd: "the data ends in the middle of JSON. Send it whole."
        case .brokenLine: "the line ends in the middle of a record. NDJSON has each record on one line."
        case .secondValue: "NDJSON has one record a line. Begin a new line for the next one."
        case .trailingData: "something follows the end of the JSON. Send several values one a line as NDJSON."
        case .rawControl: "a JSON string has a raw control character. Write it as an escape."
        case .unknownEscape: "a JSON string has an escape that JSON does not have."
        case .loneSurrogate: "a JSON string has half a surrogate pair. Write the whole pair or leave it out."
        case .tooDeep: "objects and arrays are nested deeper than \(limits.jsonDepth)."
        case .longNumber: "the number is longer than \(limits.numberLength) bytes. Send it as a string."
        case .hugeNumber: "the number is beyond what a double holds. Send it as a string."
        case .invalidUTF8: "this is not UTF-8. Send the data in UTF-8."
        case .otherEncoding: "this looks like UTF-16. Send the data in UTF-8."
        case .openQuote: "the quote that opens here is never closed."
        case .tooManyColumns: "the header has more than \(limits.csvColumns) columns."
        case .longNames: "the header's names are longer than \(limits.csvNameBytes) bytes in all."
        case .largeHeader: "the header is longer than \(limits.recordBytes) bytes."
        case .largeRecord: "the record that begins here is larger than \(limits.recordBytes) bytes."
        case .largeField: "the quote that opens here is not closed within a record of \(limits.recordBytes) bytes."
        }
    }
}
