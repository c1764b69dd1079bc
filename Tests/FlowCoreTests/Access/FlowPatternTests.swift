import FlowCore
import Testing

@Suite struct FlowPatternTests {
    @Test(arguments: [
        "a", "import-1", "A.b_c:d-9", "*", "import-*", "a:*", ".*", "..*", "...", String(repeating: "a", count: 128),
    ])
    func acceptsValidPattern(_ text: String) throws {
        let pattern = try #require(FlowPattern(text))
        #expect(pattern.description == text)
    }

    @Test(arguments: [
        "", ".", "..", "**", "*a", "a*b", "a**", "a b", "a/b", "a\u{0}", "ä", "a*\u{301}", "a?", "{a}", "a\n", " *", "* ",
        String(repeating: "a", count: 129), String(repeating: "a", count: 128) + "*",
    ])
    func rejectsInvalidPattern(_ text: String) {
        #expect(FlowPattern(text) == nil)
    }

    @Test(arguments: [
        ("*", "anything", true),
        ("import-*", "import-1", true),
        ("import-*", "import-", true),
        ("import-*", "import", false),
        ("import-*", "Import-1", false),
        ("import-*", "my-import-1", false),
        ("import-1", "import-1", true),
        ("import-1", "import-12", false),
        ("import-12", "import-1", false),
        ("a.*", "a.b", true),
        ("a.*", "axb", false),
        (".*", ".b", true),
        (".*", "b", false),
    ])
    func patternMatchesExactIDOrPrefix(_ pattern: String, _ flow: String, _ expected: Bool) throws {
        let pattern = try #require(FlowPattern(pattern))
        let flow = try #require(FlowID(flow))
        #expect(pattern.matches(flow) == expected)
    }

    @Test func starEqualsAllPattern() {
        #expect(FlowPattern("*") == .all)
        #expect(FlowPattern("a*") != FlowPattern("a"))
    }
}
