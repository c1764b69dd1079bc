import FlowCore
import NIOCore
import Testing

extension CoreStreams {
    /// The `data:` lines of an event: their length, and the characters that some readers take for line ends.
    @Suite struct EventDataLinesTests {
        private static let maximumLine = 32_768

        /// The lines of an event whose data is this JSON.
        private static func lines(_ json: String) throws -> [Substring] {
            let data = try JSONText(validating: Array(json.utf8))
            let text = String(buffer: EncodedEvent("e", data: data).block.payload)
            #expect(text.hasPrefix("event: e\ndata: ") && text.hasSuffix("\n\n"))
            let lines = text.split(separator: "\n", omittingEmptySubsequences: false).dropFirst().dropLast(2)
            #expect(lines.allSatisfy { $0.hasPrefix("data: ") })
            // A reader joins the lines by line feeds.
            let joined = lines.map { $0.dropFirst("data: ".count) }.joined(separator: "\n")
            let read = try JSONText(validating: Array(joined.utf8))
            #expect(read == data || read.isEquivalent(to: data))
            return Array(lines)
        }

        private static func array(_ element: String, _ count: Int) -> String {
            "[" + Array(repeating: element, count: count).joined(separator: ",") + "]"
        }

        @Test func lineOfTheMaximumLengthIsNotBroken() throws {
            let room = Self.maximumLine - "data: ".utf8.count
            let longest = "[" + Array(repeating: "1", count: (room - 1) / 2).joined(separator: ",") + "]"
            #expect(try Self.lines(longest).count == 1)
            let lines = try Self.lines("[10," + longest.dropFirst())
            #expect(lines.count == 2 && lines.allSatisfy { $0.utf8.count <= Self.maximumLine })
        }

        @Test(arguments: [
            #"{"name":"a, [b] {c}: \"quoted\" and a backslash \\","n":-12.5e3,"list":[],"none":null}"#, #""\\\\\\""#, "12345678",
            "[[[[]]]]", #""""#, #"{"€":"ü"}"#, "true",
        ])
        func longDataIsBrokenBetweenTokens(element: String) throws {
            let json = Self.array(element, 150_000 / element.utf8.count)
            let lines = try Self.lines(json)
            #expect(lines.allSatisfy { $0.utf8.count <= Self.maximumLine })
            // No shorter lines than necessary.
            #expect(lines.count <= json.utf8.count / (Self.maximumLine - 100) + 1)
        }

        @Test func longStringsAndNumbersAreNotBroken() throws {
            let string = "\"" + String(repeating: #"\\\""#, count: 15_000) + "\""
            let number = "0." + String(repeating: "1", count: 900)
            let lines = try Self.lines("{\"a\":\(string),\"b\":[\(number),\(string)],\"c\":1}")
            #expect(lines.contains("data: \(string)"))
            #expect(lines.filter { $0.utf8.count > Self.maximumLine }.count == 2)
            #expect(try Self.lines(string).count == 1)
        }

        /// Readers that split text by Unicode's rules would cut the line.
        @Test func unicodeLineEndsAreEscaped() throws {
            let lines = try Self.lines("{\"a\u{2028}\":\"\u{85}x\u{2029}\u{2030}\u{2027}\u{a9}\u{e2}\u{c2}\"}")
            #expect(lines == [#"data: {"a\u2028":"\u0085x\u2029‰‧©âÂ"}"#])
            let long = try Self.lines(Self.array("\"\u{2028}\u{2028}\u{2028}\u{2028}\"", 5_000))
            #expect(long.allSatisfy { $0.utf8.count <= Self.maximumLine && !$0.contains("\u{2028}") })
        }
    }
}
