import FlowCore
import Testing

@Suite struct JSONEquivalenceTests {
    @Test(arguments: [
        (#"{"a":1,"b":2}"#, #"{"b":2,"a":1}"#), (#""\u0041\n""#, "\"A\\u000a\""), (#"{"\u0061":[]}"#, #"{"a":[]}"#),
        (#"{"a":1,"a":2}"#, #"{"a":2}"#), (#"[{"x":{"p":1,"q":[{"r":"\/","s":0}]}}]"#, #"[{"x":{"q":[{"s":0,"r":"/"}],"p":1}}]"#),
        ("[]", "[]"), ("{}", "{}"), ("null", "null"), ("1", "1"), (#""\ud83d\ude00""#, "\"😀\""),
    ])
    func ignoresMemberOrderAndSpelling(_ left: String, _ right: String) throws {
        let (left, right) = (try JSONText(validating: left.utf8), try JSONText(validating: right.utf8))
        #expect(left.isEquivalent(to: right) && right.isEquivalent(to: left))
    }

    @Test(arguments: [
        ("[]", "{}"), ("1", "1.0"), ("1", "\"1\""), ("null", "false"), ("true", "false"), ("[1,2]", "[2,1]"), ("[1]", "[1,1]"),
        ("[]", "[null]"), (#"{"a":1}"#, #"{"a":2}"#), (#"{"a":1}"#, #"{"b":1}"#), (#"{"a":1}"#, #"{"a":1,"b":null}"#),
        (#"{"a":1,"a":2}"#, #"{"a":1}"#), (#"{"a":{"b":[1]}}"#, #"{"a":{"b":[2]}}"#), ("\"\u{E9}\"", "\"e\u{301}\""),
        ("{\"\u{E9}\":1}", "{\"e\u{301}\":1}"),
        ("1", "-1"), ("12", "1"), (#""a""#, #""A""#), (#"{"a":1,"b":1}"#, #"{"a":1,"a":1}"#),
    ])
    func distinguishesDifferentValues(_ left: String, _ right: String) throws {
        let (left, right) = (try JSONText(validating: left.utf8), try JSONText(validating: right.utf8))
        #expect(!left.isEquivalent(to: right) && !right.isEquivalent(to: left))
    }

    @Test func comparesManyMembersInAnyOrder() {
        let object = { (order: [Int], last: Int) in
            JSONText.object { for index in order { $0.key("k\(index)"); $0.value(index == 99 ? last : index) } }
        }
        let ascending = object(Array(0..<100), 99)
        #expect(ascending.isEquivalent(to: object((0..<100).reversed(), 99)))
        #expect(!ascending.isEquivalent(to: object((0..<100).reversed(), 98)))
    }
}
