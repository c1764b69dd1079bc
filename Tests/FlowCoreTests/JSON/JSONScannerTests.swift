import FlowCore
import Testing

@Suite struct JSONScannerTests {
    @Test func yieldsTokensWithRanges() throws {
        let input = Array(#" {"a" : [1, "x\n", true,false , null], "b":{}} "#.utf8)
        var scanner = JSONScanner(input)
        var tokens: [JSONToken] = []
        repeat { tokens.append(try scanner.next()) } while tokens.last != .end
        #expect(
            tokens == [
                .objectStart, .key(2..<5), .arrayStart, .number(9..<10), .string(12..<17), .true, .false, .null, .arrayEnd,
                .key(39..<42), .objectStart, .objectEnd, .objectEnd, .end,
            ])
        #expect(try scanner.next() == .end)
        #expect(scanner.depth == 0)
        #expect(scanner.position == input.count)
    }

    @Test(arguments: ["[1,]", "{\"a\" 1}", "[1, x]", "[[[", "{\"a\":1,\"b\"}", "\"\\q\"", "[tru]", "1 2", "[1}", ""])
    func repeatsFirstError(_ text: String) throws {
        var scanner = JSONScanner(Array(text.utf8))
        let first = try #require(throws: JSONError.self) { while try scanner.next() != .end {} }
        for _ in 0..<3 { #expect(throws: first) { try scanner.next() } }
    }

    @Test func reportsDepthAfterEachToken() throws {
        var scanner = JSONScanner(Array("[{\"a\":[]}]".utf8))
        var depths: [Int] = []
        while try scanner.next() != .end { depths.append(scanner.depth) }
        #expect(depths == [1, 2, 2, 3, 2, 1, 0])
    }
}
