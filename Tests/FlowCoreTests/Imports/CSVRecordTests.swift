import FlowCore
import Testing

@Suite struct CSVRecordTests {
    @Test(
        arguments: [
            ("a,b\n1,2\n3,4\n", [#"{"a":"1","b":"2"}"#, #"{"a":"3","b":"4"}"#]),
            // A last line without a line end; all kinds of line ends; blank lines.
            ("a,b\r\n1,2\r\n\r\n3,4", [#"{"a":"1","b":"2"}"#, #"{"a":"3","b":"4"}"#]),
            ("\r\ra,b\r1,2\r\r\r3,4\r", [#"{"a":"1","b":"2"}"#, #"{"a":"3","b":"4"}"#]),
            ("\n\na,b\n\n1,2", [#"{"a":"1","b":"2"}"#]),
            ("\u{FEFF}a,b\n1,2", [#"{"a":"1","b":"2"}"#]),
            ("a,b", []),
            ("a,b\n", []),
            ("\"a\"", []),
            // Quotes.
            ("a,b\n\"1\",\"2\"\n", [#"{"a":"1","b":"2"}"#]),
            ("\u{FEFF}\"a\",\"b \"\"c\"\"\"\n\"1,\r\n2\",\"\"\"\"\n", [#"{"a":"1,\r\n2","b \"c\"":"\""}"#]),
            ("a,b\n\"\",\"\"\n\"\"", [#"{"a":"","b":""}"#, #"{"a":"","b":null}"#]),
            ("a,b\n\"1\"x,\"2\"\"\"y\"\n\"\"z\"\",", [#"{"a":"1x","b":"2\"y\""}"#, #"{"a":"z\"\"","b":""}"#]),
            ("a,b\n1\"2\", \"3,4\"", [#"{"a":"1\"2\"","b":" \"3","_extra":["4\""]}"#]),
            // Short and long rows.
            (
                "a,b,c\n1\n1,\n,,\n1,2,3,4,5\n1,2,3,\n",
                [
                    #"{"a":"1","b":null,"c":null}"#, #"{"a":"1","b":"","c":null}"#, #"{"a":"","b":"","c":""}"#,
                    #"{"a":"1","b":"2","c":"3","_extra":["4","5"]}"#, #"{"a":"1","b":"2","c":"3","_extra":[""]}"#,
                ]
            ),
            ("a\n1,2\n", [#"{"a":"1","_extra":["2"]}"#]),
            // Names.
            (
                "a,,a,a,column_2,_extra,a_2\n1,2,3,4,5,6,7,8\n",
                [
                    #"{"a":"1","column_2_2":"2","a_3":"3","a_4":"4","column_2":"5","_extra":"6","a_2":"7","_extra_2":["8"]}"#
                ]
            ),
            (",\n1,2", [#"{"column_1":"1","column_2":"2"}"#]),
            (" a , b\n 1 , 2", [#"{" a ":" 1 "," b":" 2"}"#]),
            ("\"a\nb\",\"c\\d\"\n1,2", [#"{"a\nb":"1","c\\d":"2"}"#]),
            // Delimiters.
            ("a;b,c;d\n1,5;2;3", [#"{"a":"1,5","b,c":"2","d":"3"}"#]),
            ("a\tb\n1\t2", [#"{"a":"1","b":"2"}"#]),
            ("\ta\n0\t2", [#"{"column_1":"0","a":"2"}"#]),
            ("a|b\n1|\"2|3\"", [#"{"a":"1","b":"2|3"}"#]),
            ("a,b;c\n1,2;3", [#"{"a":"1","b;c":"2;3"}"#]),
            ("\"a,b,c\";d\n1;2", [#"{"a,b,c":"1","d":"2"}"#]),
            ("x;\"a,\nb,c\";d\n1;2;3", [#"{"x":"1","a,\nb,c":"2","d":"3"}"#]),
            ("a\n1\n2", [#"{"a":"1"}"#, #"{"a":"2"}"#]),
            // Text.
            ("é,😀\nह,\u{7F}\u{0}\u{1F}\t\u{8}\\/", [#"{"é":"ह","😀":"\#u{7F}\u0000\u001f\t\u0008\\/"}"#]),
            ("a,b\nnull,007\ntrue,1e5", [#"{"a":"null","b":"007"}"#, #"{"a":"true","b":"1e5"}"#]),
            ("a,b\n[1,{2", [#"{"a":"[1","b":"{2"}"#]),
        ] as [(String, [String])])
    func readsRecordsInChunksOfAnySize(_ text: String, _ records: [String]) throws {
        let reading = RecordReaderFixture(text, .csv)
        #expect(reading.error == nil)
        #expect(reading.records == records)
        #expect(reading.document == RecordReaderFixture.document(records))
        #expect(RecordReaderFixture(text, nil) == reading)
        _ = try JSONText(validating: reading.document.utf8)
        for cuts in RecordReaderFixture.cuts(text.utf8.count) {
            #expect(RecordReaderFixture(text, .csv, cuts: cuts) == reading, "cut at \(cuts)")
            #expect(RecordReaderFixture(text, nil, cuts: cuts) == reading, "cut at \(cuts)")
        }
    }

    @Test(
        arguments: [
            ("", .empty, 1, 1),
            ("\n\r\n", .empty, 1, 1),
            ("a,b\n1,\"2", .badCSV, 2, 3),
            ("a,b\r\n\r\n1,\"2\r\n3,4\n", .badCSV, 3, 3),
            ("a,b\n\"1\n2\r\n3\r4\",\"", .badCSV, 5, 4),
            ("a,b\n1,2\n\"", .badCSV, 3, 1),
            ("é,\"b", .badCSV, 1, 4),
        ] as [(String, ImportInputError.Code, Int, Int)])
    func reportsErrorCodeAndPosition(_ text: String, _ code: ImportInputError.Code, _ line: Int, _ column: Int) throws {
        try JSONRecordTests.expectError(Array(text.utf8), .csv, code, line, column)
    }

    @Test(
        arguments: [
            [0x80], [0xC3], [0xC3, 0x2C], [0xED, 0xA0, 0x80], [0xE2, 0x82], [0xF4, 0x90, 0x80, 0x80], [0xFF, 0xFE], [0xC3, 0x22],
        ] as [[UInt8]])
    func rejectsInvalidUTF8(_ bytes: [UInt8]) throws {
        try JSONRecordTests.expectError(Array("a,b\n\r\nx,y".utf8) + bytes, .csv, .badUTF8, 3, 4)
        try JSONRecordTests.expectError(Array("a,b\n\r\nx,\"y\n".utf8) + bytes, .csv, .badUTF8, 4, 1)
        try JSONRecordTests.expectError(Array("a,b".utf8) + bytes + Array("\n".utf8), .csv, .badUTF8, 1, 4)
    }

    @Test func usesGivenDelimiter() {
        let reading = RecordReaderFixture("a;b;c,d\n1;2;3,4", .csv, delimiter: UInt8(ascii: ","))
        #expect(reading.records == [#"{"a;b;c":"1;2;3","d":"4"}"#])
        #expect(RecordReaderFixture("a:b\n\"1:2\":3", .csv, delimiter: UInt8(ascii: ":")).records == [#"{"a":"1:2","b":"3"}"#])
    }

    @Test func errorCountsRecordsFromFirstRow() {
        #expect(RecordReaderFixture("a,b\n1,2\n1,\"2", .csv).error?.record == 1)
        #expect(RecordReaderFixture("a,\"b", .csv).error?.record == nil)
    }

    @Test func repeatedNamesGetUniqueSuffixes() {
        let names = [String](repeating: "x", count: 2_000)
        let reading = RecordReaderFixture(names.joined(separator: ",") + "\n1", .csv)
        #expect(reading.records.count == 1)
        #expect(reading.records.first?.hasSuffix(#","x_1999":null,"x_2000":null}"#) == true)
    }
}
