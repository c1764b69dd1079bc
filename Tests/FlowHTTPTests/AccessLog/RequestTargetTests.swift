import FlowCore
import HTTPTypes
import NIOCore
import Testing

@testable import FlowHTTP

@Suite struct RequestTargetTests {
    @Test(
        arguments: [
            ("/v1/flows", "/v1/flows", nil, nil), ("/v1/feed", "/v1/feed", nil, nil),
            ("/v1/flows/a/state", "/v1/flows/{flow}/state", "flow", "a"),
            ("//v1//flows/a%2Db/events/", "/v1/flows/{flow}/events", "flow", "a-b"),
            ("/v1/imports/7/records", "/v1/imports/{import}/records", "import", "7"),
            ("/v1/locks/r", "/v1/locks/{resource}", "resource", "r"), ("/v1/patterns/k", "/v1/patterns/{key}", "key", "k"),
            ("/v1/connections/i.1", "/v1/connections/{connection}", "connection", "i.1"),
            ("/metrics", "/metrics", nil, nil), ("/health/live", "/health/live", nil, nil),
            // What is no route, or no id, is not repeated.
            ("/v1/flows/a", nil, nil, nil), ("/v1/flows/a/secret", nil, nil, nil), ("/v1/locks/a/b", nil, nil, nil),
            ("/v1/secret", nil, nil, nil), ("/secret", nil, nil, nil), ("/health/secret", nil, nil, nil), ("", nil, nil, nil),
            ("/v1/flows/%0Ax/state", "/v1/flows/{flow}/state", "flow", nil),
            ("/v1/flows/\(String(repeating: "a", count: 129))/state", "/v1/flows/{flow}/state", "flow", nil),
            ("/v1/flows/a/state/b/c/d/e", nil, nil, nil),
        ] as [(String, String?, String?, String?)])
    func namesRouteAndObject(_ path: String, _ route: String?, _ kind: String?, _ id: String?) {
        let target = RequestTarget(path: Substring(path))
        #expect(target.route == route && target.kind == kind && target.id == id, "\(target)")
    }

    @Test func newRequestIDsAreShortAndDistinct() {
        let ids = Set((0..<10_000).map { _ in RequestID.make() })
        #expect(ids.count == 10_000)
        #expect(ids.allSatisfy { $0.utf8.count == 13 && Identifier.isValid($0.utf8, maximumLength: 13) })
    }

    @Test(
        arguments: [
            (["a-1"], "a-1"), ([String(repeating: "a", count: 128)], String(repeating: "a", count: 128)), ([], nil), ([""], nil),
            ([String(repeating: "a", count: 129)], nil), (["a b"], nil), (["a\"b"], nil), (["a", "b"], nil), (["ü"], nil),
        ] as [([String], String?)])
    func acceptsOneWellFormedRequestID(_ values: [String], _ id: String?) {
        var fields = HTTPFields()
        for value in values { fields.append(HTTPField(name: .requestID, value: value)) }
        #expect(RequestID.sent(in: fields) == id)
    }
}
