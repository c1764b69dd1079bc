import FlowCore
import Testing

@Suite struct JSONRecordTests {
    @Test(
        arguments: [
            // One array.
            ("[]", .json, []),
            (" [ ] \n", .json, []),
            (#"[{"a":1},{"a":2}]"#, .json, [#"{"a":1}"#, #"{"a":2}"#]),
            (
                #"[1,"x",null,true,false,[2],[],{},-0.5e+7]"#, .json,
                ["1", #""x""#, "null", "true", "false", "[2]", "[]", "{}", "-0.5e+7"]
            ),
            ("\n[\r\n\t{ \"a\" : [ 1 , 2 ] , \"b\" : { } }\n,\n3 ] ", .json, [#"{"a":[1,2],"b":{}}"#, "3"]),
            ("\u{FEFF}[1]", .json, ["1"]),
            ("[[[]],[[1],{}]]", .json, ["[[]]", "[[1],{}]"]),
            // Kept as sent.
            (#"[{"b":1.00,"a":1E5,"b":12345678901234567890123}]"#, .json, [#"{"b":1.00,"a":1E5,"b":12345678901234567890123}"#]),
            (
                #"["\u00e9\/\b\f\n\r\t\"\\ \ud83d\ude00", "é😀\#u{7F}ह"]"#, .json,
                [#""\u00e9\/\b\f\n\r\t\"\\ \ud83d\ude00""#, "\"é😀\u{7F}ह\""]
            ),
            // One object.
            (" {\n\"a\": [\n1 ]\n} \n", .json, [#"{"a":[1]}"#]),
            // Lines.
            ("", .ndjson, []),
            ("\n \r\n\n", .ndjson, []),
            ("{\"a\":1}\n{\"a\":2}\n", .ndjson, [#"{"a":1}"#, #"{"a":2}"#]),
            (
                "{\"a\":1}\r\n\r\n \t{ \"a\" : 2 } \r\n\n[1, 2]\n5\n\"x\"\nnull", .ndjson,
                [#"{"a":1}"#, #"{"a":2}"#, "[1,2]", "5", #""x""#, "null"]
            ),
            ("[1]\n[2]\n", .ndjson, ["[1]", "[2]"]),
            ("\u{FEFF}1\n2", .ndjson, ["1", "2"]),
            ("12.5e3", .ndjson, ["12.5e3"]),
            // Format not declared.
            (" \n [1, 2]", nil, ["1", "2"]),
            ("\u{FEFF}\n{\"a\":1}\n{\"a\":2}", nil, [#"{"a":1}"#, #"{"a":2}"#]),
            ("{\"a\":1}", nil, [#"{"a":1}"#]),
            ("{\"a\":1}\n\n", nil, [#"{"a":1}"#]),
            ("{\n  \"a\": 1\n}\n", nil, [#"{"a":1}"#]),
        ] as [(String, ImportFormat?, [String])])
    func readsRecordsInChunksOfAnySize(_ text: String, _ format: ImportFormat?, _ records: [String]) {
        let reading = RecordReaderFixture(text, format)
        #expect(reading.error == nil)
        #expect(reading.records == records)
        #expect(reading.document == RecordReaderFixture.document(records))
        for cuts in RecordReaderFixture.cuts(text.utf8.count) {
            #expect(RecordReaderFixture(text, format, cuts: cuts) == reading, "cut at \(cuts)")
        }
    }

    @Test(
        arguments: [
            ("", .json, .empty, 1, 1),
            (" \n ", .json, .empty, 2, 2),
            ("", nil, .empty, 1, 1),
            ("\u{FEFF} \r\n\t", nil, .empty, 2, 2),
            ("1", .json, .badJSON, 1, 1),
            ("\"a\"", .json, .badJSON, 1, 1),
            ("[1", .json, .badJSON, 1, 3),
            ("[1,", .json, .badJSON, 1, 4),
            ("[1,]", .json, .badJSON, 1, 4),
            ("[,1]", .json, .badJSON, 1, 2),
            ("[1 2]", .json, .badJSON, 1, 4),
            ("[1]\n\n [2]", .json, .badJSON, 3, 2),
            ("[1]]", .json, .badJSON, 1, 4),
            ("{}\n{}", .json, .badJSON, 2, 1),
            ("[{\"a\":1},\n{\"a\" 2}]", .json, .badJSON, 2, 6),
            ("[{\"a\":1,}]", .json, .badJSON, 1, 9),
            ("[{a:1}]", .json, .badJSON, 1, 3),
            ("[{\"a\":1]", .json, .badJSON, 1, 8),
            ("[[1}]", .json, .badJSON, 1, 4),
            ("[\u{0B}1]", .json, .badJSON, 1, 2),
            ("[tru]", .json, .badJSON, 1, 5),
            ("[nulL]", .json, .badJSON, 1, 5),
            ("[01]", .json, .badJSON, 1, 3),
            ("[1.]", .json, .badJSON, 1, 4),
            ("[-]", .json, .badJSON, 1, 3),
            ("[1e]", .json, .badJSON, 1, 4),
            ("[1e1.5]", .json, .badJSON, 1, 5),
            ("[+1]", .json, .badJSON, 1, 2),
            ("[\n\"a\tb\"]", .json, .badJSON, 2, 3),
            ("[\"a\nb\"]", .json, .badJSON, 1, 4),
            ("[\"\\x\"]", .json, .badJSON, 1, 3),
            ("[\"\\u12g4\"]", .json, .badJSON, 1, 3),
            ("[\"ab\\ud83d\"]", .json, .badJSON, 1, 5),
            ("[\"\\ud83d\\n\"]", .json, .badJSON, 1, 3),
            ("[\"\\ud83d\\ud83d\"]", .json, .badJSON, 1, 3),
            ("[\"\\ude00\"]", .json, .badJSON, 1, 3),
            ("[1e999]", .json, .badNumber, 1, 2),
            ("{\"a\":1}\n{\"a\":", .ndjson, .badJSON, 2, 6),
            ("{\"a\":1}\n{\"a\":\n2}", .ndjson, .badJSON, 2, 6),
            ("{\"a\":1} {\"a\":2}", .ndjson, .badJSON, 1, 9),
            ("1\n\n2,", .ndjson, .badJSON, 3, 2),
            ("1\n2.", .ndjson, .badJSON, 2, 3),
            ("1\r2", .ndjson, .badJSON, 1, 3),
            ("{\"a\":1}\n{\n\"a\":1}", nil, .badJSON, 2, 2),
            ("{\n\"a\":1}\n{\"a\":1}", nil, .badJSON, 3, 1),
            ("{\"é\": x", nil, .badJSON, 1, 8),
        ] as [(String, ImportFormat?, ImportInputError.Code, Int, Int)])
    func reportsErrorCodeAndPosition(
        _ text: String, _ format: ImportFormat?, _ code: ImportInputError.Code, _ line: Int, _ column: Int
    ) throws {
        try Self.expectError(Array(text.utf8), format, code, line, column)
    }

    @Test(
        arguments: [
            ([0x22, 0xC3, 0x22], 1), ([0x22, 0x61, 0x80], 2), ([0x22, 0xC0, 0xAF, 0x22], 1), ([0x22, 0xED, 0xA0, 0x80, 0x22], 1),
            ([0x22, 0xF4, 0x90, 0x80, 0x80], 1), ([0x22, 0xE2, 0x82, 0x22], 1), ([0x22, 0x61, 0x62, 0xF0, 0x9F, 0x98, 0x0A], 3),
            ([0x22, 0xFF], 1),
        ] as [([UInt8], Int)])
    func rejectsInvalidUTF8(_ string: [UInt8], _ offset: Int) throws {
        try Self.expectError(Array("[1,\n".utf8) + string, .json, .badUTF8, 2, offset + 1)
        try Self.expectError(Array("{\"a\":".utf8) + string, .ndjson, .badUTF8, 1, offset + 6)
    }

    @Test(arguments: [[0xFF, 0xFE, 0x5B, 0x00], [0xFE, 0xFF, 0x00, 0x5B]] as [[UInt8]], [nil, .json, .csv] as [ImportFormat?])
    func rejectsUTF16ByteOrderMark(_ bytes: [UInt8], _ format: ImportFormat?) throws {
        try Self.expectError(bytes, format, .badUTF8, 1, 1)
    }

    static func expectError(
        _ bytes: [UInt8], _ format: ImportFormat?, limits: ImportLimits = .init(), _ code: ImportInputError.Code, _ line: Int,
        _ column: Int
    ) throws {
        let reading = RecordReaderFixture(bytes, format, limits: limits)
        let error = try #require(reading.error)
        #expect(error.code == code)
        #expect(error.line == line)
        #expect(error.column == column)
        let cuts = bytes.count < 200 ? RecordReaderFixture.cuts(bytes.count) : [[bytes.count / 2], Array(1..<bytes.count)]
        for cuts in cuts {
            #expect(RecordReaderFixture(bytes, format, limits: limits, cuts: cuts) == reading, "cut at \(cuts.prefix(4))")
        }
    }

    @Test func errorNamesPositionWithoutRepeatingInput() throws {
        let text = "\u{FEFF}{\"secret\":1}\n{\"secret\":2}\n{\"secret\":x}\n"
        let error = try #require(RecordReaderFixture(text, nil).error)
        #expect(error.code == .badJSON)
        #expect((error.line, error.column) == (3, 11))
        #expect(error.offset == text.utf8.count - 3)
        #expect(error.record == 2)
        #expect(error.description == "Line 3, column 11: unexpected character in JSON.")
        #expect(RecordReaderFixture("[1] 2", nil).error?.record == nil)
    }

    @Test(arguments: [1, 7, 20, 100])
    func pagesEndWithWholeRecord(_ target: Int) {
        let records = (0..<40).map { "{\"id\":\($0)}" }
        let text = records.joined(separator: "\n")
        let whole = RecordReaderFixture(text, .ndjson)
        let reading = RecordReaderFixture(text, .ndjson, target: target)
        #expect(reading.document == whole.document)
        #expect(reading.records == records)
        // A page ends with the record that reaches the target size.
        for page in reading.pages.dropLast() { #expect(page.count >= target && page.count < target + 14) }
        #expect(reading.pages.count == min(40, (whole.document.utf8.count - 3 + target - 1) / target) || target > 7)
        for chunk in [1, 2, 13] {
            let cuts = Array(stride(from: chunk, to: text.utf8.count, by: chunk))
            #expect(RecordReaderFixture(text, .ndjson, cuts: cuts, target: target) == reading)
        }
    }

    @Test func emptyPageClosesArray() {
        var page = RecordPage(continuing: false, capacity: 0)
        page.close()
        #expect(page.text == Array("[\n]\n".utf8))
        page = RecordPage(continuing: true, capacity: 0)
        page.close()
        #expect(page.text == Array("\n]\n".utf8))
    }
}
