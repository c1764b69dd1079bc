import FlowCore
import Testing

@Suite struct ImportLimitTests {
    static let small: ImportLimits = {
        var limits = ImportLimits()
        limits.recordBytes = 100
        limits.jsonDepth = 5
        limits.numberLength = 10
        limits.csvColumns = 4
        limits.csvNameBytes = 20
        return limits
    }()

    @Test func rejectsRecordOverDepthLimit() throws {
        let limits = Self.small
        #expect(RecordReaderFixture("[[[[[[]]]]]]", .json, limits: limits).records == ["[[[[[]]]]]"])
        try JSONRecordTests.expectError(Array("[\n[[[[[[]]]]]]]".utf8), .json, limits: limits, .tooDeep, 2, 6)
        let brackets = [UInt8](repeating: UInt8(ascii: "["), count: 100_000)
        try JSONRecordTests.expectError(brackets, .json, .tooDeep, 1, 66)
        let braces = Array(String(repeating: #"{"a":"#, count: 100_000).utf8)
        try JSONRecordTests.expectError(braces, nil, .tooDeep, 1, 64 * 5 + 1)
    }

    @Test func rejectsNumberOverLengthOrRange() throws {
        let limits = Self.small
        for number in ["1234567890", "-123456789", "0.12345678", "1e00000001"] {
            #expect(RecordReaderFixture(number, .ndjson, limits: limits).records == [number])
            #expect(RecordReaderFixture("[\(number)]", .json, limits: limits).records == [number])
            try JSONRecordTests.expectError(Array("1\n  \(number)5\n".utf8), .ndjson, limits: limits, .badNumber, 2, 3)
        }
        let digits = [UInt8](repeating: UInt8(ascii: "7"), count: 1_000_000)
        try JSONRecordTests.expectError(Array("[\n".utf8) + digits, .json, .badNumber, 2, 1)
        let fits = String(repeating: "7", count: 308)
        #expect(RecordReaderFixture(fits, .ndjson).records == [fits])
        try JSONRecordTests.expectError(Array((fits + "77").utf8), .ndjson, .badNumber, 1, 1)
        try JSONRecordTests.expectError(Array("-1E+400".utf8), .ndjson, .badNumber, 1, 1)
        #expect(RecordReaderFixture("1E-400\n1e308", .ndjson).records == ["1E-400", "1e308"])
    }

    @Test(arguments: [ImportFormat.json, .ndjson])
    func rejectsRecordOverSizeLimit(_ format: ImportFormat) throws {
        let limits = Self.small
        let fits = "{\"a\":\"" + String(repeating: "x", count: 92) + "\"}"
        let begin = format == .json ? "[ " : " "
        #expect(RecordReaderFixture(begin + fits + (format == .json ? "]" : "\n"), format, limits: limits).records == [fits])
        // White space between tokens does not count.
        let spaced = "{ \"a\" :  \"" + String(repeating: "x", count: 92) + "\"  }"
        #expect(RecordReaderFixture(begin + spaced + (format == .json ? "]" : "\n"), format, limits: limits).records == [fits])
        let large = "{\"a\":\"" + String(repeating: "x", count: 93) + "\"}"
        try JSONRecordTests.expectError(Array((begin + large).utf8), format, limits: limits, .recordTooLarge, 1, begin.count + 1)
        // The size error also comes first if the record is incomplete, or if another error follows later.
        let endless = begin + "{\"a\":\"" + String(repeating: "x", count: 40_000)
        try JSONRecordTests.expectError(Array(endless.utf8), format, limits: limits, .recordTooLarge, 1, begin.count + 1)
        try JSONRecordTests.expectError(Array(endless.utf8) + [0x80], format, limits: limits, .recordTooLarge, 1, begin.count + 1)
        // An error that occurs before the record is too large comes first.
        let wrong = begin + "{\"a\":\"" + String(repeating: "x", count: 94)
        try JSONRecordTests.expectError(Array(wrong.utf8) + [0x80], format, limits: limits, .badUTF8, 1, begin.count + 101)
    }

    @Test func rejectsRowOverSizeLimit() throws {
        let limits = Self.small
        let fits = String(repeating: "x", count: 92)
        #expect(RecordReaderFixture("a\n" + fits + "\n", .csv, limits: limits).records == ["{\"a\":\"\(fits)\"}"])
        try JSONRecordTests.expectError(Array("a\n\n\(fits)x\n".utf8), .csv, limits: limits, .recordTooLarge, 3, 1)
        // Escapes count with the bytes that are stored.
        #expect(RecordReaderFixture("a\n" + fits.dropLast(4) + "\\\\", .csv, limits: limits).error == nil)
        try JSONRecordTests.expectError(Array("a\n\(fits.dropLast())\\".utf8), .csv, limits: limits, .recordTooLarge, 2, 1)
        // An error in a quoted cell is reported at its opening quote.
        let open = "a,b\n1,\"" + String(repeating: "line\n", count: 8_000)
        try JSONRecordTests.expectError(Array(open.utf8), .csv, limits: limits, .recordTooLarge, 2, 3)
        try JSONRecordTests.expectError(Array("a,b\n1,\"2\n".utf8), .csv, limits: limits, .badCSV, 2, 3)
        // The names that each record repeats, and nulls, count as well.
        try JSONRecordTests.expectError(
            Array("aaaaa,bbbbb,ccccc,ddddd\n1\n".utf8), .csv, limits: Self.with { $0.recordBytes = 50 }, .recordTooLarge, 2, 1)
        try JSONRecordTests.expectError(
            Array(("a\n" + String(repeating: ",", count: 100)).utf8), .csv, limits: limits, .recordTooLarge, 2, 1)
    }

    static func with(_ change: (inout ImportLimits) -> Void) -> ImportLimits {
        var limits = Self.small
        change(&limits)
        return limits
    }

    @Test func rejectsHeaderOverColumnOrSizeLimit() throws {
        let limits = Self.small
        #expect(RecordReaderFixture("a,b,c,d\n", .csv, limits: limits).records == [])
        try JSONRecordTests.expectError(Array("\na,b,c,d,e\n".utf8), .csv, limits: limits, .tooManyColumns, 2, 9)
        try JSONRecordTests.expectError(Array("abcdefghijk,abcdefghij\n1,2".utf8), .csv, limits: limits, .tooManyColumns, 1, 1)
        let long = String(repeating: "x", count: 100_000)
        try JSONRecordTests.expectError(Array(long.utf8), .csv, limits: limits, .recordTooLarge, 1, 1)
        try JSONRecordTests.expectError(Array("\"\(long)".utf8), .csv, limits: limits, .recordTooLarge, 1, 1)
        try JSONRecordTests.expectError(Array("a,\"b\nc".utf8), .csv, limits: limits, .badCSV, 1, 3)
    }
}
