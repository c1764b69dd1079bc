import FlowCore
import HTTPTypes
import Testing

@testable import FlowHTTP

/// How a request for a stream is read, from its target and header fields.
@Suite struct StreamRequestTests {
    private static let epoch = Epoch(counter: 7, random: "a")

    private static func request(
        _ query: Substring, path: Substring = "/v1/flows/f/events", header: String? = nil, flows: Int = 100
    ) throws -> StreamRequest {
        try StreamRequest(path: path, query: query, lastEventID: header, maximumFlows: flows)
    }

    private static func version(_ query: Substring, header: String? = nil) throws -> Version? {
        guard case .shared(.flow(Self.epoch, let version)) = try Self.request(query, header: header).position else { return nil }
        return version
    }

    @Test(arguments: ["last_event_id", "lastEventId", "lastEventID", "Last-Event-ID", "last%5Fevent%5Fid"])
    func findsCursorUnderEveryName(_ name: String) throws {
        #expect(try Self.version("\(name)=7.a-9") == 9)
        #expect(try Self.version("types=a&\(name)=%227.a-9%22&snapshot=0") == 9)
    }

    @Test func lastOfSeveralCursorsWins() throws {
        #expect(try Self.version("last_event_id=7.a-1&lastEventId=7.a-2") == 2)
        #expect(try Self.version("lastEventId=7.a-2&last_event_id=7.a-1") == 1)
        #expect(try Self.version("", header: "7.a-1, 7.a-2") == 2)
        #expect(try Self.version("", header: "W/\"7.a-3\"") == 3)
    }

    /// An `EventSource` reconnects with the header field, to a target whose parameter is the older position.
    @Test func headerCursorTakesPrecedence() throws {
        #expect(try Self.version("last_event_id=7.a-1", header: "7.a-2") == 2)
        #expect(try Self.version("last_event_id=7.a-1", header: "") == 1)
        #expect(try Self.version("last_event_id=7.a-1", header: " , ") == 1)
        #expect(try Self.request("last_event_id=7.a-1", header: "rubbish").position == .shared(.unreadable))
    }

    @Test func otherParametersAreNoCursor() throws {
        for name in ["lastevent", "event_id", "last_event_id_", "id"] {
            #expect(try Self.request("\(name)=7.a-1").position == .shared(.none), "\(name)")
        }
    }

    @Test func getTakesAsManyFlowsAsConfigured() throws {
        let hundred = Substring((0..<100).map { "flow=f\($0)" }.joined(separator: "&"))
        #expect(try Self.request(hundred, path: "/v1/events").flows.count == 100)
        let error = #expect(throws: StreamRequest.Malformed.self) {
            try Self.request(hundred + "&flow=another", path: "/v1/events")
        }
        #expect(error?.code == "too_many_flows")
        #expect(error?.detail.contains("POST /v1/events") == true, "the text says what to do")
    }

    @Test func feedIsFilteredByIDAndStatus() throws {
        let feed = try Self.request("flow=import-*&flow=job-7&status=running,failed&status=waiting", path: "/v1/feed")
        func accepts(_ flow: String) throws -> Bool { feed.filter.accepts(try #require(FlowID(flow))) }
        #expect(try accepts("import-1") && accepts("job-7") && !accepts("job-77") && !accepts("imp"))
        #expect(feed.filter.accepts(FlowStatus(stored: "waiting")) && !feed.filter.accepts(FlowStatus(stored: "done")))
        #expect(try Self.request("flow=a&flow=*", path: "/v1/feed").filter.patterns.isEmpty, "* is every flow")
        #expect(try Self.request("", path: "/v1/feed").filter == .all)
        let many = Substring((0..<65).map { "flow=f\($0)" }.joined(separator: "&"))
        for query in ["flow=a*b", "flow=", "flow=%20", "status=a%00b", "status=\(String(repeating: "s", count: 65))", many]
            as [Substring]
        {
            let error = #expect(throws: StreamRequest.Malformed.self) { try Self.request(query, path: "/v1/feed") }
            #expect(error?.code == "bad_parameter", "\(query)")
        }
    }

    // MARK: Bodies

    private static func body(_ text: String, flows: Int = 1_000) throws -> StreamRequest {
        try StreamRequest(body: Array(text.utf8), maximumFlows: flows, limits: JSONLimits())
    }

    @Test func bodyNamesFlowsWithTheirCursors() throws {
        let request = try Self.body(
            #"""
            {"types":["tick","state_update"],
            "flows":[{"flow_id":"b","after":"7.a-9"},{"after":null,"flow_id":"c"},{"flow_id":"a"},
            {"flow_id":"d","after":"\"7.a-4\""},{"flow_id":"e","after":"0"},{"flow_id":"f","after":"x"}],"snapshot":false,"presence":true}
            """#)
        #expect(request.flows.map(\.rawValue) == ["a", "b", "c", "d", "e", "f"])
        #expect(
            request.position
                == .each([.none, .flow(Self.epoch, 9), .none, .flow(Self.epoch, 4), .start, .unreadable]))
        let tick = try #require(EventType("tick"))
        #expect(request.types == [.stateUpdate, tick])
        #expect(!request.wantsSnapshot && request.wantsPresence)
        let plain = try Self.body(#"{"flows":[{"flow_id":"a"}],"types":null}"#)
        #expect(plain.types == nil && plain.wantsSnapshot && !plain.wantsPresence)
        #expect(plain.position == .each([.none]))
    }

    @Test(arguments: [
        ("", "bad_json"), ("{", "bad_json"), ("[]", "bad_parameter"), ("{}", "bad_parameter"),
        (#"{"flows":{}}"#, "bad_parameter"),
        (#"{"flows":[]}"#, "flow_missing"), (#"{"flows":["a"]}"#, "bad_parameter"), (#"{"flows":[{}]}"#, "bad_flow_id"),
        (#"{"flows":[{"flow_id":"a b"}]}"#, "bad_flow_id"), (#"{"flows":[{"flow_id":7}]}"#, "bad_flow_id"),
        (#"{"flows":[{"flow_id":"a","after":7}]}"#, "bad_parameter"),
        (#"{"flows":[{"flow_id":"a"},{"flow_id":"a"}]}"#, "bad_parameter"),
        (#"{"flows":[{"flow_id":"a","since":"7.a-9"}]}"#, "unknown_member"),
        (#"{"flows":[{"flow_id":"a"}],"type":["a"]}"#, "unknown_member"),
        (#"{"flows":[{"flow_id":"a"}],"types":"a"}"#, "bad_parameter"),
        (#"{"flows":[{"flow_id":"a"}],"types":["a b"]}"#, "bad_event_type"),
        (#"{"flows":[{"flow_id":"a"}],"types":[7]}"#, "bad_event_type"),
        (#"{"flows":[{"flow_id":"a"}],"snapshot":0}"#, "bad_parameter"),
        (#"{"flows":[{"flow_id":"a"}],"presence":"yes"}"#, "bad_parameter"),
        (#"{"flows":[{"flow_id":"a"},{"flow_id":"b"},{"flow_id":"c"}]}"#, "too_many_flows"),
        // What exceeds a limit is counted before it is read.
        (#"{"flows":[7,7,7]}"#, "too_many_flows"),
        (#"{"flows":[{"flow_id":"a"}],"types":[\#(String(repeating: "7,", count: 64))7]}"#, "too_many_types"),
    ])
    func rejectsOtherBodies(text: String, code: String) {
        let error = #expect(throws: StreamRequest.Malformed.self) { try Self.body(text, flows: 2) }
        #expect(error?.code == code, "\(text): \(error?.detail ?? "")")
        #expect(error?.status == (code == "unknown_member" ? .unprocessableContent : .badRequest))
    }

    @Test func onlyPostAndQueryOfEventsHaveFlowsInTheBody() {
        for method in [HTTPRequest.Method.post, .query] {
            #expect(StreamRequest.isStreamWithBody(method: method, path: "/v1/events"))
            #expect(!StreamRequest.isStreamWithBody(method: method, path: "/v1/flows/f/events"))
            #expect(!StreamRequest.isStream(method: method, path: "/v1/events"))
        }
        #expect(!StreamRequest.isStreamWithBody(method: .get, path: "/v1/events"))
        #expect(!StreamRequest.isStreamWithBody(method: .put, path: "/v1/events"))
    }
}
