import HTTPTypes
import Hummingbird
import NIOCore
import Testing

@testable import FlowHTTP

@Suite struct RequestFreshnessTests {
    private static func wantsCurrentState(_ fields: HTTPFields, query: String = "") -> Bool {
        let head = HTTPRequest(
            method: .get, scheme: nil, authority: nil, path: "/v1/flows/f/state" + query, headerFields: fields)
        return Request(head: head, body: .init(buffer: ByteBuffer())).wantsCurrentState
    }

    @Test(arguments: ["no-cache", "No-Cache", "max-age=0", "max-stale=5, no-cache", "no-transform ,\tmax-age = 00"])
    func directiveAsksStore(_ value: String) { #expect(Self.wantsCurrentState([.cacheControl: value])) }

    @Test(arguments: ["", "max-age=", "max-age=1", "no-store", "xno-cache", "private"])
    func otherDirectivesDoNot(_ value: String) { #expect(!Self.wantsCurrentState([.cacheControl: value])) }

    @Test func severalFieldsCountAsOne() {
        var fields = HTTPFields()
        fields.append(HTTPField(name: .cacheControl, value: "no-transform"))
        fields.append(HTTPField(name: .cacheControl, value: "no-cache"))
        #expect(Self.wantsCurrentState(fields))
    }

    @Test func parameterAsksStore() {
        #expect(Self.wantsCurrentState([:], query: "?a=b&fresh=1"))
        for query in ["", "?", "?fresh=0", "?fresh", "?unfresh=1"] { #expect(!Self.wantsCurrentState([:], query: query)) }
    }
}
