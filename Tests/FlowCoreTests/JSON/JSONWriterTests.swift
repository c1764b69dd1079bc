import FlowCore
import Testing

@Suite struct JSONWriterTests {
    @Test func writesNestedValuesWithCommas() throws {
        let text = try JSONText.object { writer throws(JSONError) in
            writer.key("a")
            writer.value(1)
            writer.key("b")
            writer.beginArray()
            writer.value("x")
            writer.value(true)
            writer.value(false)
            writer.null()
            writer.value(Int64.min)
            writer.value(1.5)
            writer.beginObject()
            writer.endObject()
            writer.beginArray()
            writer.endArray()
            writer.raw(try JSONText(validating: #"{"r":1.0}"#.utf8))
            writer.endArray()
            writer.key("c")
            writer.beginObject()
            writer.key("d")
            writer.value(2)
            writer.endObject()
        }
        #expect(
            text.string == #"{"a":1,"b":["x",true,false,null,-9223372036854775808,1.5,{},[],{"r":1.0}],"c":{"d":2}}"#)
    }

    @Test(arguments: [
        ("", #""""#),
        ("plain é 😀 \u{7F}", "\"plain é 😀 \u{7F}\""), ("\"\\/", #""\"\\/""#), ("\n\r\t\u{8}\u{C}", #""\n\r\t\b\f""#),
        ("\0\u{1}\u{1F}", #""\u0000\u0001\u001f""#), ("a\u{2028}b\u{2029}c\u{2030}", "\"a\\u2028b\\u2029c\u{2030}\""),
        ("\r\n", #""\r\n""#), ("e\u{301}\"", "\"e\u{301}\\\"\""),
    ])
    func escapesStrings(_ string: String, _ expected: String) throws {
        var writer = JSONWriter()
        writer.value(string)
        let text = writer.finish()
        #expect(Array(text.string.utf8) == Array(expected.utf8))
        #expect(text.stringValue.map { Array($0.utf8) } == Array(string.utf8))
        let object = JSONText.object {
            $0.key(string)
            $0.value(string)
        }
        #expect(try JSONText(validating: object.bytes).member(string)?.stringValue == string)
    }

    @Test func doublesRoundTripAndNonfiniteBecomesNull() throws {
        let values = [0, -0.0, 1, 0.1, 1e300, .leastNonzeroMagnitude, -1.7976931348623157e308, 123_456_789.125, 1e16, 1e-5]
        let text = JSONText.array { for value in values { $0.value(value) } }
        #expect(try JSONText(validating: text.bytes).elements.map(\.doubleValue) == values)
        let none = JSONText.array { for value in [Double.infinity, -.infinity, .nan] { $0.value(value) } }
        #expect(none.string == "[null,null,null]")
    }

    @Test func splicesRawMembers() throws {
        let spliced = try JSONText(validating: #"{"x":1,"y":[2]}"#.utf8)
        let between = JSONText.object {
            $0.key("a")
            $0.value(0)
            $0.rawMembers(of: spliced)
            $0.rawMembers(of: .emptyObject)
            $0.rawMembers(of: .null)
            $0.key("b")
            $0.value(3)
        }
        #expect(between.string == #"{"a":0,"x":1,"y":[2],"b":3}"#)
        #expect(JSONText.object { $0.rawMembers(of: spliced) } == spliced)
        #expect(JSONText.object { $0.rawMembers(of: .emptyObject) } == .emptyObject)
    }

    @Test func propagatesErrorOfClosure() {
        let failure = JSONError(code: .syntax, offset: 3)
        #expect(throws: failure) { try JSONText.object { _ throws(JSONError) in throw failure } }
    }
}
