import Testing

@testable import FlowCore

/// The bytes that a store returns are trusted, yet no bytes may crash the server.
@Suite struct JSONTrustedTests {
    static func readAll(_ text: JSONText) {
        _ = text.stringValue
        _ = text.intValue
        _ = text.doubleValue
        _ = text.boolValue
        _ = text.member("a")
        for member in text.members { Self.readAll(member.value) }
        for element in text.elements { Self.readAll(element) }
    }

    @Test func brokenTextsNeverTrap() {
        for seed in JSONFuzzTests.cases(600) {
            var documents = JSONFuzzDocuments(seed: seed)
            let valid = JSONText(unchecked: documents.spelled(documents.object(depth: 3), loose: false))
            let broken = JSONText(unchecked: documents.mutated(documents.spelled(documents.object(depth: 3), loose: false)))
            Self.readAll(broken)
            Self.readAll(valid.applying(mergePatch: broken))
            Self.readAll(broken.applying(mergePatch: valid))
            _ = broken.isEquivalent(to: valid)
            #expect(JSONText.object { $0.rawMembers(of: valid) } == valid)
        }
    }

    @Test(arguments: [
        "", "{", "[", "\"", "{\"", "{\"a\"", "{\"a\":", "{\"a\":\"", "{\"a\":{", "{\"a\":1", "[1,", "{\"a\":1,", "\"\\", "\"\\\"",
        "{\"a\":}", "{:}", "[,]", "]", "}", "\"\\u", "\"\\ud83d\"", "\"\\ud83d\\\"", "-",
    ])
    func truncatedTextsNeverTrap(_ string: String) throws {
        let text = JSONText(unchecked: Array(string.utf8))
        let patch = try JSONText(validating: #"{"a":{"b":1}}"#.utf8)
        Self.readAll(text)
        Self.readAll(text.applying(mergePatch: patch))
        Self.readAll(patch.applying(mergePatch: text))
        _ = text.isEquivalent(to: patch)
    }
}
