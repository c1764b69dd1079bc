import FlowCore
import HTTPTypes
import Testing

@testable import FlowHTTP

/// Paths, methods and parameters of requests.
@Suite struct RequestPathTests {
    @Test(
        arguments: [
            ("/v1/flows", "/v1/flows", ""), ("/v1/flows/", "/v1/flows", ""), ("/v1/flows/?limit=1", "/v1/flows", "limit=1"),
            ("//v1///flows//", "/v1/flows", ""), ("/", "/", ""), ("//", "/", ""), ("/?a=/", "/", "a=/"),
            ("/v1/events?flow=a/?b", "/v1/events", "flow=a/?b"), ("/v1/events/?", "/v1/events", ""), ("", "", ""),
            ("?a", "", "a"), ("/v1/flows/%2f/", "/v1/flows/%2f", ""),
        ])
    func emptySegmentsDoNotCount(_ target: String, _ path: String, _ query: String) {
        let parsed = RequestPath(target)
        #expect(String(parsed.path) == path && String(parsed.query) == query, "\(parsed)")
    }

    @Test func tableHasTheMethodsOfEveryRoute() {
        let table = RouteTable([
            ("/v1/flows", .get), ("/v1/flows/:flow/events", .post), ("/v1/flows/{flow}/events", .get),
            ("/v1/locks/{resource}", .put), ("/", .get),
        ])
        #expect(table.allow("/v1/flows") == "GET, HEAD, OPTIONS")
        #expect(table.allow("/v1//flows/") == "GET, HEAD, OPTIONS")
        #expect(table.allow("/v1/flows/a/events") == "GET, HEAD, OPTIONS, POST")
        #expect(table.allow("/v1/locks/%00") == "OPTIONS, PUT")
        #expect(table.allow("/") == "GET, HEAD, OPTIONS")
        for path in ["/v1", "/v1/flows/a", "/v1/flows/a/event", "/V1/flows", "/v1/flows/a/events/b"] {
            #expect(table.allow(path) == nil, "\(path)")
        }
    }

    @Test(arguments: [
        ("a=%00", "a"), ("a=b&c=%1f", "c"), ("a=%7F", "a"), ("a=%0a", "a"), ("a=%ff", "a"), ("a=%ED%A0%80", "a"),
        ("a=%C0%80", "a"),
        ("%00=a", "%00"), ("%ff", "%ff"), ("a=b%00c", "a"),
    ])
    func parameterThatNoStoreCanHoldIsFound(_ query: Substring, _ name: String) {
        #expect(QueryParameters.unreadable(in: query) == name)
    }

    @Test(arguments: ["", "a", "a=b", "a=%20+%C3%A9", "a=100%", "a=%zz&b=%2", "a=%F0%9F%98%80", "a=%C2%85", "%2500=%2500"])
    func otherParametersAreReadable(_ query: Substring) {
        #expect(QueryParameters.unreadable(in: query) == nil)
    }

    @Test func invalidEscapeInQueryStandsForItself() {
        let parameters = QueryParameters("a=100%&b=%zz+%41&c=%ff&a=2")
        #expect(parameters.first("a") == "100%" && parameters.all("a") == ["100%", "2"])
        #expect(parameters.first("b") == "%zz A")
        #expect(parameters.first("c") == "%ff")
        #expect(PercentDecoding.decode("a%") == nil && PercentDecoding.decode("%ff") == nil)
        #expect(PercentDecoding.decode("%41+b") == "A+b")
    }
}
