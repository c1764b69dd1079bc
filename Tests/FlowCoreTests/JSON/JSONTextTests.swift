import FlowCore
import Testing

@Suite struct JSONTextTests {
    static func text(_ string: String) throws -> JSONText { try JSONText(validating: string.utf8) }

    @Test(arguments: [
        (" { } ", "{}"), ("[ ]\n", "[]"), ("\t1\r\n", "1"), (" \" \" ", "\" \""), ("[ 1 ,\n2 ]", "[1,2]"),
        ("{ \"a b\" : \"c  d\" , \"e\" :\t[ true , null ] }", #"{"a b":"c  d","e":[true,null]}"#),
        (#" { "q" : "\" , \" \\" } "#, #"{"q":"\" , \" \\"}"#), (#"[ "\\\\" , "\\\"" ]"#, #"["\\\\","\\\""]"#),
        (#" [ 1.0 , 1e5 , -0 , "\u0041\/" ] "#, #"[1.0,1e5,-0,"\u0041\/"]"#), ("{\"a\":1, \"a\":2}", "{\"a\":1,\"a\":2}"),
        ("[\"é 😀\" ]", "[\"é 😀\"]"),
    ])
    func removesWhitespaceBetweenTokens(_ input: String, _ output: String) throws {
        let text = try Self.text(input)
        #expect(text.string == output)
        #expect(try Self.text(text.string) == text)
        #expect(!text.bytes.contains(0x0A) && !text.bytes.contains(0x0D))
    }

    @Test func acceptsSlicesAndTrustedBytes() throws {
        let input = Array("xx[1]yy".utf8)
        #expect(try JSONText(validating: input[2..<5]).string == "[1]")
        #expect(JSONText(trusted: Array("[1]".utf8)) == (try Self.text("[ 1 ]")))
        #expect(JSONText.emptyObject.string == "{}")
        #expect(JSONText.null.isNull)
    }

    @Test func findsMembersByDecodedName() throws {
        let object = try Self.text(#"{"a":1,"\u0062":[2],"c\n":{"a":3},"":4,"\ud83d\ude00":5,"\"":6,"n\u0000l":7,"x":{"y":8}}"#)
        #expect(object.member("a")?.string == "1")
        #expect(object.member("b")?.string == "[2]")
        #expect(object.member("c\n")?.string == #"{"a":3}"#)
        #expect(object.member("")?.intValue == 4)
        #expect(object.member("😀")?.intValue == 5)
        #expect(object.member("\"")?.intValue == 6)
        #expect(object.member("n\0l")?.intValue == 7)
        #expect(object.member("y") == nil)
        #expect(object.members.map(\.key) == ["a", "b", "c\n", "", "😀", "\"", "n\0l", "x"])
        #expect(object.members.last?.value.string == #"{"y":8}"#)
    }

    @Test func lastOfRepeatedMembersWins() throws {
        let object = try Self.text(#"{"a":1,"b":2,"\u0061":3}"#)
        #expect(object.member("a")?.intValue == 3)
        #expect(object.members.map(\.value.string) == ["1", "2", "3"])
    }

    @Test func memberNamesAreComparedByBytes() throws {
        // The same letter, composed and decomposed: equal as Swift strings, but two names in JSON.
        let object = try Self.text("{\"\u{E9}\":1,\"e\u{301}\":2}")
        #expect(object.member("\u{E9}")?.intValue == 1)
        #expect(object.member("e\u{301}")?.intValue == 2)
    }

    @Test func listsElementsOfArray() throws {
        #expect(
            try Self.text(#"[1,"a,]",[2,[3]],{"a":[]},[],{},null]"#).elements.map(\.string) == [
                "1", "\"a,]\"", "[2,[3]]", #"{"a":[]}"#, "[]", "{}", "null",
            ])
        #expect(try Self.text("[]").elements.isEmpty)
        #expect(try Self.text("[[]]").elements.map(\.string) == ["[]"])
        #expect(try Self.text("{\"a\":1}").elements.isEmpty)
        for text in [#"[1,"a,]",[2,[3]],{"a":[]},[],{},null]"#, "[]", "[[]]", #"{"a":1}"#, "7"] {
            let json = try Self.text(text)
            #expect(json.elementCount == json.elements.count, "\(text)")
        }
    }

    @Test func readsScalarValues() throws {
        #expect(try Self.text(#""a\u0000\n\u00e9\ud83d\ude00\/""#).stringValue == "a\0\n\u{E9}😀/")
        #expect(try Self.text("9223372036854775807").intValue == .max)
        #expect(try Self.text("-9223372036854775808").intValue == .min)
        #expect(try Self.text("-0").intValue == 0)
        for text in ["9223372036854775808", "1.0", "1e2", "\"1\"", "true", "null", "[1]"] {
            #expect(try Self.text(text).intValue == nil, "\(text)")
        }
        #expect(try Self.text("-1.5e3").doubleValue == -1500)
        #expect(try Self.text("7").doubleValue == 7)
        #expect(try Self.text("\"7\"").doubleValue == nil)
        #expect(try Self.text("true").boolValue == true)
        #expect(try Self.text("false").boolValue == false)
        #expect(try Self.text("null").boolValue == nil)
        #expect(try Self.text("null").isNull)
        #expect(try Self.text("1").stringValue == nil)
        #expect(try Self.text("{}").isObject && !Self.text("{}").isArray)
        #expect(try Self.text("[]").isArray && !Self.text("[]").isObject)
    }

    @Test func nonObjectsAndEmptyObjectHaveNoMembers() throws {
        for text in ["[]", "[\"a\",1]", "\"a\"", "1", "null", "{}", "[{\"a\":1}]"] {
            #expect(try Self.text(text).member("a") == nil)
            #expect(try Self.text(text).members.isEmpty)
        }
    }

    @Test func splitsLinesAndSkipsEmptyLines() {
        let lines = { (text: String) in JSONText.splitLines(Array(text.utf8)).map { String(decoding: $0, as: UTF8.self) } }
        #expect(lines("") == [])
        #expect(lines("\n\r\n\n") == [])
        #expect(lines("1\n2\r\n\n3") == ["1", "2", "3"])
        #expect(lines("1\n2\n") == ["1", "2"])
        #expect(lines("\r1\r2\r\n \n") == ["\r1\r2", " "])
    }
}
