import FlowCore
import Testing

/// Which documents are accepted and which are rejected, with the reason and the offset (after the cases of
/// JSONTestSuite).
@Suite struct JSONGrammarTests {
    @Test(arguments: [
        "{}", "[]", "null", "true", "false", "0", "-0", "-1", "12", "1.5", "0.0", "-0.25e-7", "1e5", "1E+5", "0e999", "1e-999",
        #""""#, #""a""#, #""\"\\\/\b\f\n\r\t""#, #""\u0041\u00e9\uABCD""#, #""\uD83D\uDE00""#, #""\u0000""#, "\"\u{7F}\"",
        "\"é€😀\"", "\"\u{2028}\u{2029}\"", "\"\u{FEFF}\"", "\"\u{FFFF}\u{10FFFF}\"",
        #"{"a":1}"#, #"{"a":1,"a":2}"#, #"{"":0}"#, #"{"a":[{},[],{"b":null}]}"#, "[1,2,3]", "[[],{},\"\",0,true,false,null]",
    ])
    func acceptsValidTextAsWritten(_ text: String) throws {
        #expect(try JSONText(validating: text.utf8).string == text)
    }

    @Test(
        arguments: [
            // Structure
            ("", .unexpectedEnd, 0), (" \n", .unexpectedEnd, 2), ("[", .unexpectedEnd, 1), ("{", .unexpectedEnd, 1),
            ("[1", .unexpectedEnd, 2), ("[1,", .unexpectedEnd, 3), ("{\"a\"", .unexpectedEnd, 4), ("{\"a\":", .unexpectedEnd, 5),
            ("{\"a\":1", .unexpectedEnd, 6), ("{\"a\":1,", .unexpectedEnd, 7), ("[1,]", .syntax, 3), ("[,1]", .syntax, 1),
            ("[,]", .syntax, 1), ("[1 2]", .syntax, 3), ("[1,,2]", .syntax, 3), ("{,}", .syntax, 1), ("{\"a\":1,}", .syntax, 7),
            ("{\"a\"}", .syntax, 4), ("{\"a\" 1}", .syntax, 5), ("{\"a\"::1}", .syntax, 5), ("{a:1}", .syntax, 1),
            ("{1:1}", .syntax, 1), ("{'a':1}", .syntax, 1), ("{\"a\":1 \"b\":2}", .syntax, 7), ("[\"a\":1]", .syntax, 4),
            ("{\"a\",1}", .syntax, 4), ("[}", .syntax, 1), ("{]", .syntax, 1), ("[1}", .syntax, 2), ("{\"a\":1]", .syntax, 6),
            ("]", .syntax, 0), ("}", .syntax, 0), (",", .syntax, 0), (":", .syntax, 0), ("/**/1", .syntax, 0),
            ("[1]//", .trailingData, 3),
            ("1 2", .trailingData, 2), ("{}{}", .trailingData, 2), ("[]]", .trailingData, 2), ("\"a\"x", .trailingData, 3),
            ("1,", .trailingData, 1), ("nullx", .trailingData, 4), ("null\0", .trailingData, 4), ("\0", .syntax, 0),
            ("\u{FEFF}{}", .syntax, 0), ("[1\u{B}]", .syntax, 2), ("[\u{A0}1]", .syntax, 1), ("[\u{C}]", .syntax, 1),
            // Literals
            ("nul", .unexpectedEnd, 3), ("tru", .unexpectedEnd, 3), ("[nul]", .syntax, 4), ("True", .syntax, 0),
            ("nUll", .syntax, 1),
            ("falsy", .syntax, 4), ("NaN", .syntax, 0), ("Infinity", .syntax, 0), ("undefined", .syntax, 0),
            // Numbers
            ("-", .unexpectedEnd, 1), ("1.", .unexpectedEnd, 2), ("1e", .unexpectedEnd, 2), ("1e+", .unexpectedEnd, 3),
            ("[-]", .syntax, 2), ("[1.]", .syntax, 3), ("[1.e1]", .syntax, 3), ("[1e]", .syntax, 3), ("[1e+]", .syntax, 4),
            ("[-a]", .syntax, 2), ("[+1]", .syntax, 1), (".5", .syntax, 0), ("-.5", .syntax, 1), ("01", .syntax, 1),
            ("-01", .syntax, 2),
            ("00", .syntax, 1), ("0x1", .trailingData, 1), ("1_000", .trailingData, 1), ("[1.2.3]", .syntax, 4),
            ("[1e5.5]", .syntax, 4), ("-Infinity", .syntax, 1), ("--1", .syntax, 1), ("[１]", .syntax, 1),
            ("1e400", .invalidNumber, 0), ("[-1e309]", .invalidNumber, 1), ("1.8e308", .invalidNumber, 0),
            ("1e99999999999999999999", .invalidNumber, 0),
            // Strings
            ("\"", .unexpectedEnd, 1), ("\"abc", .unexpectedEnd, 4), ("\"\\", .unexpectedEnd, 2), ("\"\\\"", .unexpectedEnd, 3),
            ("\"\\u12", .unexpectedEnd, 5), ("\"\\u12\"", .invalidString, 1), ("\"\\u\"", .invalidString, 1),
            ("\"\\u00G0\"", .invalidString, 1),
            ("\"\\U0041\"", .invalidString, 1), ("\"\\x41\"", .invalidString, 1), ("\"\\a\"", .invalidString, 1),
            ("\"a\\ b\"", .invalidString, 2),
            ("\"\\\u{E9}\"", .invalidString, 1), ("\"a\nb\"", .invalidString, 2), ("\"\t\"", .invalidString, 1),
            ("\"\0\"", .invalidString, 1),
            ("\"\u{1F}\"", .invalidString, 1), ("{\"\n\":1}", .invalidString, 2), ("'a'", .syntax, 0),
            // Surrogates
            (#""\uD800""#, .loneSurrogate, 1), (#""\uDC00""#, .loneSurrogate, 1), (#""\uDC00\uD800""#, .loneSurrogate, 1),
            (#""\uD800\uD800""#, .loneSurrogate, 1), (#""\uD800\n""#, .loneSurrogate, 1), (#""\uD800a""#, .loneSurrogate, 1),
            (#""a\uD83D\u0041""#, .loneSurrogate, 2), (#""\uD83D\uDE00\uDE00""#, .loneSurrogate, 13),
            (#"{"\uDFFF":1}"#, .loneSurrogate, 2),
            (#""\uD800\u12""#, .invalidString, 7), (#""\uD800\u12"#, .unexpectedEnd, 11), (#""\uD800"#, .loneSurrogate, 1),
        ] as [(String, JSONError.Code, Int)])
    func rejectsInvalidTextWithCodeAndOffset(_ text: String, _ code: JSONError.Code, _ offset: Int) {
        #expect(throws: JSONError(code: code, offset: offset)) { try JSONText(validating: text.utf8) }
    }

    @Test(
        arguments: [
            ([0x80], .invalidUTF8), ([0xBF], .invalidUTF8), ([0xC0, 0xAF], .invalidUTF8), ([0xC1, 0xBF], .invalidUTF8),
            ([0xE0, 0x9F, 0xBF], .invalidUTF8), ([0xF0, 0x8F, 0xBF, 0xBF], .invalidUTF8),
            ([0xF4, 0x90, 0x80, 0x80], .invalidUTF8),
            ([0xF5, 0x80, 0x80, 0x80], .invalidUTF8), ([0xFF], .invalidUTF8), ([0xFE], .invalidUTF8), ([0xC3], .invalidUTF8),
            ([0xE2, 0x82], .invalidUTF8), ([0xE2, 0x28, 0xA1], .invalidUTF8), ([0xE2, 0x82, 0x28], .invalidUTF8),
            ([0xF0, 0x9F, 0x98], .invalidUTF8), ([0xF0, 0x9F, 0x98, 0x28], .invalidUTF8), ([0xC3, 0x28], .invalidUTF8),
            ([0xED, 0xA0, 0x80], .loneSurrogate), ([0xED, 0xBF, 0xBF], .loneSurrogate),
            ([0xED, 0xA0, 0xBD, 0xED, 0xB8, 0x80], .loneSurrogate), ([0xED, 0x28, 0x80], .invalidUTF8),
        ] as [([UInt8], JSONError.Code)])
    func rejectsInvalidUTF8InString(_ content: [UInt8], _ code: JSONError.Code) {
        #expect(throws: JSONError(code: code, offset: 2)) { try JSONText(validating: [0x22, 0x61] + content + [0x22]) }
        // A truncated string is rejected too, with any error.
        #expect(throws: JSONError.self) { try JSONText(validating: [0x22] + content) }
        #expect(throws: JSONError(code: .syntax, offset: 0)) { try JSONText(validating: content) }
    }

    @Test func acceptsUnicodeScalars() throws {
        for value in UInt32(0x20)...0x10FFFF {
            guard let scalar = Unicode.Scalar(value), value % 61 == 0 || value < 0x1000 else { continue }
            let text = try JSONText(validating: JSONText.array { $0.value(String(Character(scalar))) }.bytes)
            #expect(text.elements.first?.stringValue.map { Array($0.unicodeScalars) } == [scalar])
        }
    }

    @Test func errorNamesPositionWithoutRepeatingInput() {
        let error = #expect(throws: JSONError.self) { try JSONText(validating: #"{"password":hunter2}"#.utf8) }
        #expect(error?.description == "Invalid JSON at byte 12: unexpected byte.")
    }
}
