import FlowCore
import Testing

@Suite struct FieldSummaryTests {
    @Test func countsEveryType() {
        let text = """
            {"a":"x","b":1,"c":true,"d":{"a":1},"e":[{"a":1}],"f":null}
            {"f":"x","a":null,"b":-0.5,"c":false}
            5
            [{"a":1}]
            {}
            """
        #expect(
            RecordReaderFixture(text, .ndjson).summary.string
                == #"{"fields":{"a":{"count":2,"nulls":1,"types":{"string":1,"null":1}},"#
                + #""b":{"count":2,"nulls":0,"types":{"number":2}},"c":{"count":2,"nulls":0,"types":{"boolean":2}},"#
                + #""d":{"count":1,"nulls":0,"types":{"object":1}},"e":{"count":1,"nulls":0,"types":{"array":1}},"#
                + #""f":{"count":2,"nulls":1,"types":{"string":1,"null":1}}},"field_count":6}"#)
    }

    @Test func repeatedAndEscapedNamesAreOneField() {
        let text = #"{"a":1,"a":"x"}"# + "\n" + #"{"\u0061":2}"# + "\n" + #"{"a":3,"\u0061":null,"a":true}"#
        #expect(
            RecordReaderFixture(text, .ndjson).summary.string
                == #"{"fields":{"a":{"count":3,"nulls":0,"types":{"string":1,"number":1,"boolean":1}}},"field_count":1}"#)
    }

    @Test func fieldsOverLimitAreCountedTogether() {
        var limits = ImportLimits()
        limits.summaryFields = 2
        limits.summaryNameBytes = 4
        let text = #"{"a":1,"bcdef":2,"c":3,"d":null,"é":4}"#
        #expect(
            RecordReaderFixture(text, nil, limits: limits).summary.string
                == #"{"fields":{"a":{"count":1,"nulls":0,"types":{"number":1}},"c":{"count":1,"nulls":0,"types":{"number":1}}},"#
                + #""field_count":2,"_more":{"count":3,"nulls":1,"types":{"number":2,"null":1}}}"#)
        #expect(
            RecordReaderFixture("a,bcdef,c,d\n1,2,3\n1,2,3,4,5", nil, limits: limits).summary.string
                == #"{"fields":{"a":{"count":2,"nulls":0,"types":{"string":2}},"c":{"count":2,"nulls":0,"types":{"string":2}}},"#
                + #""field_count":2,"_more":{"count":5,"nulls":1,"types":{"string":3,"array":1,"null":1}}}"#)
    }

    @Test func rowsAreCountedByColumn() {
        #expect(
            RecordReaderFixture("a,\"b \"\"\"\n1,2\n1\n1,\n1,2,3,4", nil).summary.string
                == #"{"fields":{"a":{"count":4,"nulls":0,"types":{"string":4}},"#
                + #""b \"":{"count":4,"nulls":1,"types":{"string":3,"null":1}},"#
                + #""_extra":{"count":1,"nulls":0,"types":{"array":1}}},"field_count":3}"#)
    }

    @Test func headerWithoutRowsListsColumns() {
        #expect(
            RecordReaderFixture("a,b", .csv).summary.string
                == #"{"fields":{"a":{"count":0,"nulls":0,"types":{}},"b":{"count":0,"nulls":0,"types":{}}},"field_count":2}"#)
    }

    /// Short and long names with equal beginnings and ends, more than a table has slots for.
    @Test func distinguishesSimilarNames() {
        for seed in JSONFuzzTests.cases(20) {
            var random = JSONFuzzGenerator(seed: seed)
            let middles = ["", "x", "xy", "12345678", "12345679", "0123456789abcdef", "0123456789abcdeg"]
            let names = (0..<300).map { _ in
                random.pick(["", "begin", "beginner"]) + random.pick(middles) + String(random.below(90))
                    + random.pick(["", "end", "the_ends"])
            }
            let lines = (0..<60).map { _ in
                "{"
                    + (0..<random.below(30)).map { _ in "\"\(random.pick(names))\":\(random.pick(["1", "null", "\"\""]))" }
                    .joined(separator: ",") + "}"
            }
            let reading = RecordReaderFixture(lines.joined(separator: "\n"), .ndjson, target: 1 + random.below(900))
            #expect(reading.summary == Self.counted(reading.records), "seed \(seed)")
        }
    }

    @Test func summaryMatchesCountsOfRandomRecords() {
        for seed in JSONFuzzTests.cases(200) {
            var documents = JSONFuzzDocuments(seed: seed)
            let lines = (0..<8).map { _ in documents.spelled(documents.object(depth: 2)).map { $0 == 0x0A ? 0x20 : $0 } }
            let reading = RecordReaderFixture(Array(lines.joined(separator: [0x0A])), .ndjson)
            #expect(reading.summary == Self.counted(reading.records), "seed \(seed)")
        }
    }

    /// The expected summary, calculated without optimizations.
    static func counted(_ records: [String]) -> JSONText {
        var names: [[UInt8]] = []
        var counts: [[UInt8]: [String: Int]] = [:]
        for record in records {
            guard let text = try? JSONText(validating: record.utf8) else { continue }
            var types: [[UInt8]: String] = [:]
            for member in text.members {
                let name = Array(member.key.utf8)
                if counts[name] == nil {
                    names.append(name)
                    counts[name] = [:]
                }
                types[name] = Self.type(member.value)
            }
            for (name, type) in types { counts[name]?[type, default: 0] += 1 }
        }
        return .object { writer in
            writer.key("fields")
            writer.beginObject()
            for name in names {
                let types = counts[name] ?? [:]
                writer.key(String(decoding: name, as: UTF8.self))
                writer.beginObject()
                writer.key("count")
                writer.value(types.values.reduce(0, +))
                writer.key("nulls")
                writer.value(types["null"] ?? 0)
                writer.key("types")
                writer.beginObject()
                for type in ["string", "number", "boolean", "object", "array", "null"] {
                    guard let count = types[type] else { continue }
                    writer.key(type)
                    writer.value(count)
                }
                writer.endObject()
                writer.endObject()
            }
            writer.endObject()
            writer.key("field_count")
            writer.value(names.count)
        }
    }

    private static func type(_ value: JSONText) -> String {
        if value.isObject { return "object" }
        if value.isArray { return "array" }
        if value.isNull { return "null" }
        if value.boolValue != nil { return "boolean" }
        return value.stringValue == nil ? "number" : "string"
    }
}
