import FlowCore
import Testing

@Suite struct SchemaAnalysisTests {
    static func analysis(_ records: [String], limits: SchemaLimits = .init()) throws -> SchemaAnalysis {
        var analysis = SchemaAnalysis(limits: limits)
        for record in records { analysis.add(try JSONText(validating: record.utf8)) }
        return analysis
    }

    static func field(_ name: String, _ records: [String], limits: SchemaLimits = .init()) throws -> JSONText {
        let result = try Self.analysis(records, limits: limits).json(totalRecords: records.count, scope: .full)
        return try #require(result.member("field_info")?.member(name))
    }

    @Test func resultDescribesFieldsAndTotals() throws {
        let records = [
            #"{"id":1,"mail":"a@b.c"}"#, #"{"id":2.50,"mail":""}"#, #"{"id":null,"mail":"é@x"}"#, #"{"mail":"d@e.f"}"#,
        ]
        let analysis = try Self.analysis(records)
        #expect(
            analysis.json(totalRecords: 40, scope: .sample).string
                == #"{"field_info":{"id":{"type":"number","present":3,"present_share":0.75,"missing":1,"nulls":1,"null_share":0.3333,"#
                + #""types":{"integer":{"count":1,"share":0.3333},"number":{"count":1,"share":0.3333},"null":{"count":1,"share":0.3333}},"#
                + #""distinct":2,"distinct_is_exact":true,"numbers":{"min":1,"max":2.50},"pattern":null,"examples":[1,2.50]},"#
                + #""mail":{"type":"string","present":4,"present_share":1.0,"missing":0,"nulls":0,"null_share":0.0,"#
                + #""types":{"string":{"count":4,"share":1.0}},"distinct":4,"distinct_is_exact":true,"#
                + #""strings":{"empty":1,"min_length":0,"max_length":5,"mean_length":3.25,"min":"","max":"é@x","#
                + #""patterns":{"email":{"count":2,"share":0.6667}}},"pattern":null,"examples":["a@b.c","","é@x","d@e.f"]}},"#
                + #""field_count":2,"records_analyzed":4,"total_records":40,"analysis_type":"streaming_sample"}"#)
        #expect(analysis.recordCount == 4)
    }

    @Test func emptyInputHasNoFields() throws {
        #expect(
            try Self.analysis([]).json(totalRecords: 0, scope: .full).string
                == #"{"field_info":{},"field_count":0,"records_analyzed":0,"total_records":0,"analysis_type":"full"}"#)
        #expect(try Self.analysis(["1", "[]", "null"]).recordCount == 3)
    }

    @Test(
        arguments: [
            (["1", "2", "3"], "integer"), (["1", "2.0", "3"], "number"), (["1", "\"x\"", "2.5", "\"y\"", "7"], "number"),
            (["1", "\"x\"", "\"y\""], "string"), (["null", "null", "true"], "boolean"), (["null"], "null"),
            (["{}", "[]", "{}"], "object"),
            (["[1]", "[]", "{}"], "array"),
        ] as [([String], String)])
    func reportsDominantType(_ values: [String], _ type: String) throws {
        let field = try Self.field("a", values.map { "{\"a\":\($0)}" })
        #expect(field.member("type")?.stringValue == type)
    }

    @Test func patternRequiresNineOfTenValues() throws {
        let dates = (1...9).map { "{\"a\":\"2025-01-0\($0)\"}" }
        let empty = [String](repeating: #"{"a":""}"#, count: 50)
        #expect(try Self.field("a", dates + [#"{"a":"x"}"#] + empty).member("pattern")?.stringValue == "date")
        #expect(try Self.field("a", dates + [#"{"a":"x"}"#, #"{"a":"y"}"#]).member("pattern")?.isNull == true)
        #expect(try Self.field("a", empty).member("pattern")?.isNull == true)
    }

    @Test func examplesAreDistinctAndTruncated() throws {
        var limits = SchemaLimits()
        limits.characters = 4
        let values = [
            #""abcdefg""#, #""abcdxyz""#, "123", "123", "12345", #"{"k":1}"#, #"{"k":2}"#, "true", #""\u00e9\n😀😀😀""#,
            #""too many""#,
        ]
        let field = try Self.field("a", values.map { "{\"a\":\($0)}" }, limits: limits)
        #expect(field.member("examples")?.string == #"["abcd",123,"1234","{\"k\"",true]"#)
        let strings = try Self.field("a", [#"{"a":"b\"cdefg"}"#, #"{"a":"éfghij"}"#], limits: limits).member("strings")
        #expect(strings?.member("min")?.stringValue == "b\"cd")
        #expect(strings?.member("max")?.stringValue == "éfgh")
        #expect(strings?.member("max_length")?.intValue == 7)
    }

    @Test func repeatedNameIsOneFieldWithLastValue() throws {
        let field = try Self.field("a", [#"{"a":1,"\u0061":"x"}"#, #"{"\u0061":2}"#])
        #expect(field.member("present")?.intValue == 2)
        #expect(field.member("types")?.string == #"{"string":{"count":1,"share":0.5},"integer":{"count":1,"share":0.5}}"#)
    }

    @Test func limitsFieldsNamesAndExactCounts() throws {
        var limits = SchemaLimits()
        limits.fields = 2
        limits.nameBytes = 3
        limits.exactDistinct = 10
        let records = (0..<100).map { "{\"a\":\($0),\"long name\":1,\"b\":2,\"c\":3}" }
        let result = try Self.analysis(records, limits: limits).json(totalRecords: 100, scope: .full)
        #expect(result.member("field_info")?.members.map(\.key) == ["a", "b"])
        #expect(result.member("field_count")?.intValue == 2)
        #expect(result.member("more_members")?.intValue == 200)
        let distinct = result.member("field_info")?.member("a")
        #expect(distinct?.member("distinct_is_exact")?.boolValue == false)
        #expect(abs((distinct?.member("distinct")?.intValue ?? 0) - 100) <= 5)
    }

    @Test func signatureConsistsOfSortedNamesAndTypes() throws {
        let one = try Self.analysis([#"{"b":"x","a":1,"é":null}"#, #"{"a":2.5,"b":"y","z\"":[]}"#])
        let other = try Self.analysis([#"{"z\"":[1],"\u00e9":null,"a":7.5,"b":"other"}"#])
        let expected = #"[["a","number"],["b","string"],["z\"","array"],["é","null"]]"#
        #expect(one.signature == Array(expected.utf8))
        #expect(other.signature == one.signature)
        #expect(try Self.analysis([#"{"a":1}"#]).signature != (try Self.analysis([#"{"a":"1"}"#])).signature)
    }

    @Test func analysisOfPageMatchesAnalysisOfCopies() throws {
        var page = RecordPage(continuing: false, capacity: 100)
        var reader = RecordReader(format: .csv)
        let text = Array("a,b\n1,x\n2,\"y\n\"\n".utf8)
        _ = try reader.read(text.span, from: 0, into: &page, target: 100)
        try reader.finish(into: &page)
        var analysis = SchemaAnalysis()
        for record in page.records { analysis.add(page.text, record) }
        let copied = try Self.analysis([#"{"a":"1","b":"x"}"#, #"{"a":"2","b":"y\n"}"#])
        #expect(analysis.json(totalRecords: 2, scope: .full) == copied.json(totalRecords: 2, scope: .full))
    }

    /// Compares counts, lengths, least and greatest values and distinct values of random records with a simple
    /// calculation.
    @Test func analysisMatchesReferenceForRandomRecords() throws {
        for seed in JSONFuzzTests.cases(60) {
            var documents = JSONFuzzDocuments(seed: seed)
            let texts = try (0..<30).map { _ in try JSONText(validating: documents.spelled(documents.object(depth: 2))) }
            var analysis = SchemaAnalysis()
            for text in texts { analysis.add(text) }
            let info = try #require(analysis.json(totalRecords: 30, scope: .full).member("field_info"))
            for name in Set(texts.flatMap { $0.members.map { Array($0.key.utf8) } }) {
                let member = { (text: JSONText) in text.members.last { Array($0.key.utf8) == name }?.value }
                let values = texts.compactMap(member)
                let field = try #require(info.members.last { Array($0.key.utf8) == name }?.value, "seed \(seed)")
                Self.compare(field, values, seed)
            }
        }
    }

    private static func compare(_ field: JSONText, _ values: [JSONText], _ seed: UInt64) {
        #expect(field.member("present")?.intValue == Int64(values.count), "seed \(seed)")
        #expect(field.member("missing")?.intValue == Int64(30 - values.count), "seed \(seed)")
        #expect(field.member("nulls")?.intValue == Int64(values.count { $0.isNull }), "seed \(seed)")
        let filled = values.filter { !$0.isNull }
        let distinct = Set(filled.map { $0.stringValue.map { "s" + $0.utf8.map { "\($0) " }.joined() } ?? $0.string })
        #expect(field.member("distinct")?.intValue == Int64(distinct.count), "seed \(seed)")
        let strings = values.compactMap(\.stringValue)
        let found = field.member("strings")
        #expect(
            found?.member("empty")?.intValue == (strings.isEmpty ? nil : Int64(strings.count { $0.utf8.isEmpty })), "seed \(seed)"
        )
        let lengths = strings.map { Int64($0.unicodeScalars.count) }
        #expect(found?.member("min_length")?.intValue == lengths.min(), "seed \(seed)")
        #expect(found?.member("max_length")?.intValue == lengths.max(), "seed \(seed)")
        let byCodePoints = strings.sorted { $0.unicodeScalars.lexicographicallyPrecedes($1.unicodeScalars) }
        #expect(
            found?.member("min")?.stringValue.map { Array($0.utf8) } == byCodePoints.first.map { Array($0.utf8) }, "seed \(seed)")
        #expect(
            found?.member("max")?.stringValue.map { Array($0.utf8) } == byCodePoints.last.map { Array($0.utf8) }, "seed \(seed)")
        let numbers = values.compactMap(\.doubleValue)
        #expect(field.member("numbers")?.member("min")?.doubleValue == numbers.min(), "seed \(seed)")
        #expect(field.member("numbers")?.member("max")?.doubleValue == numbers.max(), "seed \(seed)")
        #expect(field.member("examples")?.elements.count == min(5, distinct.count), "seed \(seed)")
    }
}
