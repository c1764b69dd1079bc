import FlowCore
import HTTPTypes
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

    /// What proxies make of `"tfd0k0.7k2m-12"`.
    static let compressed = [
        #""tfd0k0.7k2m-12""#, #"W/"tfd0k0.7k2m-12""#, #""tfd0k0.7k2m-12-gzip""#, #"W/"tfd0k0.7k2m-12-gzip""#,
        #""tfd0k0.7k2m-12--gzip""#, #""tfd0k0.7k2m-12;gzip""#, #""tfd0k0.7k2m-12:br""#, #""tfd0k0.7k2m-12-br""#,
        #""tfd0k0.7k2m-12-zstd""#, #""tfd0k0.7k2m-12+deflate""#, #""tfd0k0.7k2m-12.gz""#, #""tfd0k0.7k2m-12-x-gzip""#,
    ]

    @Test(arguments: compressed) func tagThatCompressionChangedIsTheSameVersion(_ text: String) throws {
        let tag = try #require(EntityTag.list(text)?.first)
        #expect(tag.version == .init(epoch: try #require(Epoch("tfd0k0.7k2m")), version: 12))
        #expect(tag.matches(#""tfd0k0.7k2m-12""#))
        #expect(!tag.matches(#""tfd0k0.7k2m-1""#) && !tag.matches(#""tfd0k0.7k2m-123""#))
        let headers: HTTPFields = [.ifMatch: text]
        #expect(try Preconditions.read(headers) == .oneOf([.init(epoch: try #require(Epoch("tfd0k0.7k2m")), version: 12)]))
    }

    @Test(arguments: [
        "tfd0k0.7k2m-12-13", "tfd0k0.7k2m-12x", "tfd0k0.7k2m-12---gzip", "tfd0k0.7k2m-12-", "tfd0k0.7k2m-12;", "tfd0k0.7k2m",
        "tfd0k0.7k2m-", "tfd0k0.7k2m-gzip", "-12-gzip", "12-gzip", "tfd0k0.7k2m-12-gz/ip", "tfd0k0.7k2m-1.2",
        "tfd0k0.7k2m-99999999999999999999-gzip", "tfd0k0.7k2m-12-g" + String(repeating: "z", count: 40),
    ])
    func otherTagsAreNoVersion(_ value: String) throws {
        let tag = try #require(EntityTag.list("\"\(value)\"")?.first)
        #expect(tag.version == nil)
        #expect(!tag.matches(#""tfd0k0.7k2m-12""#))
    }
}
