import Testing

@testable import FlowHTTP

@Suite struct EntityTagTests {
    private static func list(_ text: String) -> [String]? {
        EntityTag.list(text)?.map { ($0.isWeak ? "weak " : "") + $0.value }
    }

    @Test func parsesValidListsAndRejectsMalformedLists() {
        #expect(Self.list(#""a""#) == ["a"])
        #expect(Self.list(#"W/"a" ,"b,c",, "" "#) == ["weak a", "b,c", ""])
        for bad in ["", " , ", "a", #""a"#, #""a" "b""#, #""a b""#, #"w/"a""#, #"*, "a""#, "\"a\u{7f}\""] {
            #expect(Self.list(bad) == nil, "\(bad)")
        }
    }
}
