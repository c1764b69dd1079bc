import ArgumentParser
import FlowCore
import Testing

@testable import flowhub

@Suite struct ImportArgumentTests {
    private static let id = ImportFixture.id

    @Test(arguments: [
        ("hosts.json", "application/json"), ("hosts.json.gz", "application/json"), ("HOSTS.JSON.GZ", "application/json"),
        ("a.b.ndjson", "application/x-ndjson"), ("a.jsonl", "application/x-ndjson"), ("a.jsonl.gz", "application/x-ndjson"),
        ("/x.json/a.csv", "text/csv"), ("a.csv.gz", "text/csv"),
    ])
    func fileNameDeterminesFormat(name: String, type: String) {
        #expect(ImportFileFormat(fileName: name)?.contentType == type)
    }

    @Test(arguments: ["", "json", "hosts", "hosts.txt", "hosts.gz", "hosts.csv.zip", "hosts.csv.gz.gz", ".gz", "a.json/"])
    func otherFileNamesHaveNoFormat(name: String) { #expect(ImportFileFormat(fileName: name) == nil) }

    @Test(arguments: [
        (["a.csv"], ImportFileFormat.csv), (["a.csv", "--format", "json"], .json), (["a.csv", "--name", "b.json"], .csv),
        (["-", "--name", "b.json.gz"], .json), (["a", "--name", "b.ndjson"], .ndjson), (["-", "--format", "csv"], .csv),
    ])
    func formatOptionOverridesFileNameAndFileNameOverridesNameOption(arguments: [String], format: ImportFileFormat) throws {
        #expect(try ImportPutCommand.parse(arguments).chosenFormat() == format)
    }

    @Test(arguments: [["-"], ["a"], ["a", "--name", "b.txt"]])
    func failsIfFormatCannotBeDetermined(arguments: [String]) throws {
        let command = try ImportPutCommand.parse(arguments)
        #expect(throws: CommandFailure.self) { try command.chosenFormat() }
    }

    @Test func putTargetContainsEncodedOptions() throws {
        #expect(try ImportPutCommand.parse(["-"]).target() == "/v1/imports")
        #expect(try ImportPutCommand.parse(["/tmp/a b&ü.csv"]).target() == "/v1/imports?file_name=a%20b%26%C3%BC.csv")
        let all = ["x.csv", "--flow", "f:1", "--name", "n\r\n?", "--source-type", "a=b"]
        #expect(
            try ImportPutCommand.parse(all).target() == "/v1/imports?flow_id=f:1&file_name=n%0D%0A%3F&source_type=a%3Db")
    }

    @Test(arguments: [["x.csv", "--flow", "a/b"], ["x.csv", "--name", ""]])
    func putRejectsInvalidFlowAndName(arguments: [String]) throws {
        let command = try ImportPutCommand.parse(arguments)
        #expect(throws: CommandFailure.self) { try command.target() }
    }

    @Test(arguments: [[], ["a.csv", "b.csv"], ["a.csv", "--format", "xml"], ["a.csv", "--progress=1"]])
    func putRejectsInvalidArguments(arguments: [String]) {
        #expect(throws: (any Error).self) { try ImportPutCommand.parse(arguments) }
    }

    @Test func recordRangeConsistsOfOffsetAndLimit() throws {
        let range = try RecordRange("900000:100")
        #expect(range.offset == 900_000 && range.limit == 100)
    }

    @Test(arguments: [
        "", ":", "1", "1:", ":1", "-1:1", "0:0", "0:-1", "a:1", "1:2:3", "1 :2", "9223372036854775807:1",
        "99999999999999999999:1",
    ])
    func rejectsInvalidRecordRange(text: String) {
        #expect(throws: CommandFailure.self) { try RecordRange(text) }
    }

    @Test(arguments: [
        ["--raw", "--ndjson"], ["--raw", "--sample"], ["--records", "0:1", "--sample"], ["--records", "0:1", "--raw"],
    ])
    func getRejectsConflictingOptions(options: [String]) throws {
        let command = try ImportGetCommand.parse([Self.id] + options)
        #expect(throws: CommandFailure.self) { try command.range() }
    }

    @Test func lsTargetContainsEncodedOptions() throws {
        #expect(try ImportListCommand.parse([]).target() == "/v1/imports?limit=100")
        let all = ["--flow", "f", "--status", "failed", "--limit", "5", "--after", "a b"]
        #expect(try ImportListCommand.parse(all).target() == "/v1/imports?limit=5&flow_id=f&status=failed&after=a%20b")
    }

    @Test(arguments: [
        ["--limit", "0"], ["--limit", "1001"], ["--status", "deleting"], ["--status", "done"], ["--flow", "a b"],
    ])
    func lsRejectsInvalidOptions(arguments: [String]) throws {
        let command = try ImportListCommand.parse(arguments)
        #expect(throws: CommandFailure.self) { try command.target() }
    }

    @Test(arguments: ["", "..", "import-7", "6f1c3a52-7c1e-4f0a-9d3b-2a64c1d0e9f", "6f1c3a52/7c1e-4f0a-9d3b-2a64c1d0e9f7"])
    func rejectsImportIDThatIsNotUUID(text: String) {
        #expect(throws: CommandFailure.self) { try ImportID.argument(text) }
    }

    @Test func importIDIsCaseInsensitive() throws {
        #expect(try ImportID.argument(Self.id.uppercased()).rawValue == Self.id)
    }
}

@Suite struct ImportOutputTests {
    @Test func listTableEscapesControlCharacters() throws {
        let body = try JSONText(
            validating: """
                {"imports":[\(ImportFixture(records: ["1", "2"]).json()),\
                {"id":"x","status":"failed","file_name":"a\\u001b[2J","created_at":"2026"}],"next":null}
                """.utf8)
        let table = ImportListCommand.table(body, Palette(isOn: false))
        #expect(
            table == """
                ID                                    STATUS  RECORDS  SIZE  FLOW      FILE        CREATED
                \(ImportFixture.id)  stored  2        11 B  import-7  hosts.csv   2026-11-23T19:05:00.123Z
                x                                     failed  -        -     -         a\\u{1b}[2J  2026
                """)
    }

    @Test func summaryLineShowsRecordsSizesAndHash() throws {
        let stored = try JSONText(validating: ImportFixture.sized(200_000).json(contentHash: "ab").utf8)
        #expect(ImportSummary.line(stored) == "200 records, 196 kB compressed to 196 kB (ratio 0.999), content hash ab")
        let rows = try JSONText(
            validating: """
                {"status":"pending","total_records":1000,"storage_metadata":{"size_bytes":5000,"original_size_bytes":5000,\
                "record_count":1000,"content_hash":""}}
                """.utf8)
        #expect(ImportSummary.line(rows) == "status pending, 1,000 records, 5.0 kB as database rows")
        #expect(ImportSummary.line(.emptyObject) == "")
    }

    @Test func schemaTableShowsFieldsWithinWidth() throws {
        let body = try JSONText(
            validating: """
                {"field_info":{"ip":{"type":"string","present":4900,"present_share":0.98,"missing":100,"nulls":20,\
                "null_share":0.0041,"types":{"null":{"count":20,"share":0.0041},"string":{"count":4880,"share":0.9959}},\
                "distinct":12345,"distinct_is_exact":false,"strings":{"empty":0,"patterns":{"ip_address":{"count":4880,"share":1}}},\
                "pattern":"ip_address","examples":["10.0.0.1","\\u001b[2J"]},"n":{"type":"number","present":5000,\
                "present_share":1,"missing":0,"nulls":0,"null_share":0,"types":{"number":{"count":5000,"share":1}},\
                "distinct":3,"distinct_is_exact":true,"numbers":{"min":1,"max":2},"pattern":null,"examples":[1.50]}},\
                "field_count":2,"records_analyzed":5000,"total_records":64000,"analysis_type":"streaming_sample",\
                "pattern_key":"ab","mapping":null}
                """.utf8)
        #expect(
            SchemaTable.text(body, Palette(isOn: false), width: nil) == """
                FIELD  TYPES                  NULLS  DISTINCT  PATTERN     EXAMPLES
                ip     string >99%, null <1%  2%     ~12,345   ip_address  10.0.0.1, \\u{1b}[2J
                n      number                 0%     3         -           1.50
                """)
        #expect(SchemaTable.text(body, Palette(isOn: false), width: 60).split(separator: "\n").allSatisfy { $0.count <= 60 })
        #expect(SchemaTable.note(body) == "based on a sample of 5,000 of 64,000 records")
    }

    @Test func problemMessageNamesPositionOnce() {
        func message(_ json: String) -> String { HubProblem(status: 400, body: Array(json.utf8)).message }
        #expect(
            message(#"{"code":"bad_json","detail":"Unexpected character.","line":3,"column":17,"record":1}"#)
                == "The hub answered 400 (bad_json): Unexpected character. At line 3, column 17, record 1.")
        #expect(
            message(#"{"code":"bad_json","detail":"Line 3, column 17: not JSON.","line":3,"column":17,"record":1}"#)
                == "The hub answered 400 (bad_json): Line 3, column 17: not JSON. At record 1.")
        #expect(
            message(#"{"code":"bad_json","detail":"Line 3, column 17: not JSON.","line":3,"column":17,"record":null}"#)
                == "The hub answered 400 (bad_json): Line 3, column 17: not JSON.")
    }
}
