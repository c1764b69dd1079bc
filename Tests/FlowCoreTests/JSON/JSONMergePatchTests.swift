import FlowCore
import Testing

@Suite struct JSONMergePatchTests {
    static func merged(_ target: String, _ patch: String) throws -> String {
        let result = try JSONText(validating: target.utf8).applying(mergePatch: JSONText(validating: patch.utf8))
        // The result must be a valid compact text.
        #expect(try JSONText(validating: result.bytes) == result)
        return result.string
    }

    /// All examples of RFC 7396, appendix A.
    @Test(arguments: [
        (#"{"a":"b"}"#, #"{"a":"c"}"#, #"{"a":"c"}"#),
        (#"{"a":"b"}"#, #"{"b":"c"}"#, #"{"a":"b","b":"c"}"#),
        (#"{"a":"b"}"#, #"{"a":null}"#, #"{}"#),
        (#"{"a":"b","b":"c"}"#, #"{"a":null}"#, #"{"b":"c"}"#),
        (#"{"a":["b"]}"#, #"{"a":"c"}"#, #"{"a":"c"}"#),
        (#"{"a":"c"}"#, #"{"a":["b"]}"#, #"{"a":["b"]}"#),
        (#"{"a":{"b":"c"}}"#, #"{"a":{"b":"d","c":null}}"#, #"{"a":{"b":"d"}}"#),
        (#"{"a":[{"b":"c"}]}"#, #"{"a":[1]}"#, #"{"a":[1]}"#),
        (#"["a","b"]"#, #"["c","d"]"#, #"["c","d"]"#),
        (#"{"a":"b"}"#, #"["c"]"#, #"["c"]"#),
        (#"{"a":"foo"}"#, "null", "null"),
        (#"{"a":"foo"}"#, #""bar""#, #""bar""#),
        (#"{"e":null}"#, #"{"a":1}"#, #"{"e":null,"a":1}"#),
        ("[1,2]", #"{"a":"b","c":null}"#, #"{"a":"b"}"#),
        ("{}", #"{"a":{"bb":{"ccc":null}}}"#, #"{"a":{"bb":{}}}"#),
    ])
    func matchesExamplesOfRFC7396AppendixA(_ target: String, _ patch: String, _ result: String) throws {
        #expect(try Self.merged(target, patch) == result)
    }

    /// The example of RFC 7396, section 3.
    @Test func matchesExampleOfRFC7396Section3() throws {
        let target =
            #"{"title":"Goodbye!","author":{"givenName":"John","familyName":"Doe"},"tags":["example","sample"],"#
            + #""content":"This will be unchanged"}"#
        let patch = #"{"title":"Hello!","phoneNumber":"+01-123-456-7890","author":{"familyName":null},"tags":["example"]}"#
        #expect(
            try Self.merged(target, patch)
                == #"{"title":"Hello!","author":{"givenName":"John"},"tags":["example"],"#
                + #""content":"This will be unchanged","phoneNumber":"+01-123-456-7890"}"#)
    }

    @Test(arguments: [
        // Unchanged members keep their bytes. Replaced ones keep their position and the spelling of their name. New
        // ones come last.
        (#"{"a":1.0,"b":"\u0041","c":1e2}"#, #"{"b":2}"#, #"{"a":1.0,"b":2,"c":1e2}"#),
        (#"{"z":1,"y":2,"x":3}"#, #"{"w":4,"x":30,"z":10,"a":5}"#, #"{"z":10,"y":2,"x":30,"w":4,"a":5}"#),
        (#"{"\u0061":1}"#, #"{"a":2}"#, #"{"\u0061":2}"#),
        (#"{"a":1}"#, #"{"\u0061":null}"#, "{}"),
        (#"{"b":1,"a":{"x":1,"y":2},"c":3}"#, #"{"a":{"z":3,"x":null}}"#, #"{"b":1,"a":{"y":2,"z":3},"c":3}"#),
        (#"{"a":1,"b":2,"c":3}"#, #"{"a":null,"c":null}"#, #"{"b":2}"#),
        (#"{"a":1,"b":2,"c":3}"#, #"{"b":null}"#, #"{"a":1,"c":3}"#),
        (#"{"a":1}"#, "{}", #"{"a":1}"#),
        ("{}", "{}", "{}"), ("{}", #"{"a":null}"#, "{}"), ("null", "{}", "{}"), ("1", #"{"a":{"b":null}}"#, #"{"a":{}}"#),
        // `null` in an array is an ordinary value.
        (#"{"a":1}"#, #"{"a":[null,{"b":null}]}"#, #"{"a":[null,{"b":null}]}"#),
        // An object that replaces another value loses its nulls.
        (#"{"a":[1]}"#, #"{"a":{"b":null,"c":{"d":null,"e":1}}}"#, #"{"a":{"c":{"e":1}}}"#),
        // Repeated members: those that the patch does not name stay; of the others only the last counts.
        (#"{"a":1,"a":2}"#, #"{"b":3}"#, #"{"a":1,"a":2,"b":3}"#),
        (#"{"a":1,"b":0,"a":2,"c":0}"#, #"{"a":3}"#, #"{"b":0,"a":3,"c":0}"#),
        (#"{"a":1,"b":0,"a":2}"#, #"{"a":null}"#, #"{"b":0}"#),
        (#"{"a":{"x":1},"a":{"y":2}}"#, #"{"a":{"z":3}}"#, #"{"a":{"y":2,"z":3}}"#),
        ("{}", #"{"a":1,"b":2,"a":3}"#, #"{"b":2,"a":3}"#),
        (#"{"a":0}"#, #"{"a":{"x":1},"a":{"y":2}}"#, #"{"a":{"y":2}}"#),
        (#"{"a":0}"#, #"{"a":5,"a":null}"#, "{}"), (#"{"a":0}"#, #"{"a":null,"a":5}"#, #"{"a":5}"#),
        // Composed and decomposed letters are different names.
        ("{\"\u{E9}\":1}", "{\"e\u{301}\":2}", "{\"\u{E9}\":1,\"e\u{301}\":2}"),
    ])
    func keepsOrderAndSpellingOfUnchangedMembers(_ target: String, _ patch: String, _ result: String) throws {
        let merged = try Self.merged(target, patch)
        #expect(Array(merged.utf8) == Array(result.utf8), "\(merged)")
    }

    @Test func mergesManyMembers() throws {
        let target = JSONText.object { for index in 0..<200 { $0.key("k\(index)"); $0.value(index) } }
        let patch = JSONText.object {
            for index in stride(from: 0, to: 200, by: 2) { $0.key("k\(index)"); $0.null() }
            for index in 200..<220 { $0.key("k\(index)"); $0.value(index) }
        }
        let expected = JSONText.object {
            for index in stride(from: 1, to: 200, by: 2) { $0.key("k\(index)"); $0.value(index) }
            for index in 200..<220 { $0.key("k\(index)"); $0.value(index) }
        }
        #expect(target.applying(mergePatch: patch) == expected)
    }

    @Test func mergesGreatestDepth() throws {
        let limits = JSONLimits(maximumDepth: JSONLimits.greatestDepth)
        let deep = try JSONText(validating: JSONLimitTests.nested(JSONLimits.greatestDepth, objects: true), limits: limits)
        #expect(JSONText.emptyObject.applying(mergePatch: deep) == deep)
        #expect(deep.applying(mergePatch: deep) == deep)
        #expect(deep.isEquivalent(to: JSONText(trusted: Array(deep.bytes))))
    }
}
