import FlowCore
import FlowTestKit
import Testing

/// The limits of requests: a request at the limit is accepted, one just over it gets a problem that names the setting.
@Suite(
    .hub([
        "FLOWHUB_MAX_BODY_BYTES": "4096", "FLOWHUB_MAX_HEADER_BYTES": "2048", "FLOWHUB_MAX_URI_BYTES": "512",
        "FLOWHUB_MAX_BATCH_EVENTS": "3",
        "FLOWHUB_MAX_STATE_BYTES": "1024", "FLOWHUB_MAX_EVENT_BYTES": "1024", "FLOWHUB_MAX_JSON_DEPTH": "4",
        "FLOWHUB_MAX_FLOWS_PER_CONNECTION": "2",
    ]))
struct RequestLimitTests {
    private static func text(_ count: Int) -> String { "\"" + String(repeating: "a", count: count - 2) + "\"" }

    private static func expect(_ reply: HTTPReply, _ status: Int, _ code: String, names key: String?) {
        #expect(reply.status == status, "\(reply.text)")
        #expect(reply.problemCode == code)
        #expect(reply.header("content-type") == "application/problem+json")
        if let key { #expect(reply.json.member("detail")?.stringValue?.contains(key) == true, "\(reply.text)") }
    }

    @Test func limitsRequestBody() async throws {
        let hub = try SharedHub.hub
        let event = #"{"type":"a","data":1}"#
        for (count, status) in [(4_096, 201), (4_097, 413)] {
            let body = event + String(repeating: " ", count: count - event.utf8.count)
            let whole = try await hub.call("POST", "/v1/flows/body/events", body: body)
            #expect(whole.status == status)
            let chunked = try await hub.answer(
                to: Array("POST /v1/flows/body/events HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n".utf8)
                    + Array("\(String(count, radix: 16))\r\n\(body)\r\n0\r\n\r\n".utf8))
            #expect(chunked.status == status)
            if status == 413 {
                for reply in [whole, chunked] { Self.expect(reply, 413, "body_too_large", names: "FLOWHUB_MAX_BODY_BYTES") }
            }
        }
    }

    @Test(arguments: [true, false])
    func reportsOversizedBodyEvenIfFullySent(isChunked: Bool) async throws {
        let hub = try SharedHub.hub
        let body = [UInt8](repeating: UInt8(ascii: " "), count: 50_000_000)
        let framing =
            isChunked
            ? "Transfer-Encoding: chunked\r\n\r\n\(String(body.count, radix: 16))\r\n" : "Content-Length: \(body.count)\r\n\r\n"
        let reply = try await hub.answer(
            to: Array("POST /v1/flows/large/events HTTP/1.1\r\nHost: localhost\r\n\(framing)".utf8) + body)
        Self.expect(reply, 413, "body_too_large", names: "FLOWHUB_MAX_BODY_BYTES")
        #expect(try #require(hub.processMetrics).residentBytes < 300_000_000)
    }

    @Test func limitsHeaderFields() async throws {
        let hub = try SharedHub.hub
        #expect(try await hub.call("GET", "/health/live", headers: [("X-A", String(repeating: "a", count: 1_800))]).status == 200)
        for headers in [
            [("X-A", String(repeating: "a", count: 2_100))], (0..<30).map { ("X-\($0)", String(repeating: "a", count: 70)) },
        ] {
            Self.expect(
                try await hub.call("GET", "/health/live", headers: headers), 431, "headers_too_large",
                names: "FLOWHUB_MAX_HEADER_BYTES")
        }
    }

    @Test(arguments: ["/health/live?", "/v1/flows/target/events?"])
    func limitsRequestTarget(_ path: String) async throws {
        let hub = try SharedHub.hub
        let within = try await hub.status(of: Self.get(path + String(repeating: "a", count: 512 - path.utf8.count)))
        #expect(within == 200)
        for count in [513, 700, 2_000, 3_000, 8_000, 100_000] {
            let reply = try await hub.answer(to: Self.get(path + String(repeating: "a", count: count - path.utf8.count)))
            Self.expect(reply, 414, "uri_too_long", names: "FLOWHUB_MAX_URI_BYTES")
        }
    }

    private static func get(_ target: String) -> [UInt8] { Array("GET \(target) HTTP/1.1\r\nHost: localhost\r\n\r\n".utf8) }

    @Test func limitsEventsPerPublish() async throws {
        let hub = try SharedHub.hub
        func batch(_ count: Int) -> String { "[" + (0..<count).map { _ in #"{"type":"a"}"# }.joined(separator: ",") + "]" }
        func lines(_ count: Int) -> String { String(repeating: "{\"type\":\"a\"}\n", count: count) }
        for (media, make) in [("application/json", batch), ("application/x-ndjson", lines)] {
            let within = try await hub.call("POST", "/v1/flows/batch/events", headers: [("Content-Type", media)], body: make(3))
            #expect(within.status == 201 && within.json.member("ids")?.elements.count == 3)
            let over = try await hub.call("POST", "/v1/flows/batch/events", headers: [("Content-Type", media)], body: make(4))
            Self.expect(over, 413, "batch_too_large", names: "FLOWHUB_MAX_BATCH_EVENTS")
        }
        #expect(try await hub.api.history(of: "batch")?.version == 6)
    }

    @Test func limitsEventData() async throws {
        let hub = try SharedHub.hub
        for durable in [true, false] {
            #expect(try await hub.api.publish("a", jsonText(Self.text(1_024)), to: "event", durable: durable).status < 300)
            let over = try await hub.api.publish("a", jsonText(Self.text(1_025)), to: "event", durable: durable).reply
            Self.expect(over, 413, "event_too_large", names: "FLOWHUB_MAX_EVENT_BYTES")
        }
    }

    @Test("limits the size of a state, written whole or grown by patches")
    func limitsStateSize() async throws {
        let hub = try SharedHub.hub
        func state(_ count: Int) throws -> JSONText { try jsonText("{\"a\":\(Self.text(count - 6))}") }
        #expect(try await hub.api.put("state", state(1_024)).status == 201)
        Self.expect(try await hub.api.put("state", state(1_025)).reply, 413, "state_too_large", names: "FLOWHUB_MAX_STATE_BYTES")
        #expect(try await hub.api.put("grown", state(900)).status == 201)
        var rejection: HTTPReply?
        var version: Version = 1
        for number in 0..<40 where rejection == nil {
            let written = try await hub.api.patch("grown", jsonText("{\"k\(number)\":\(number)}"))
            if written.status == 200 { version = written.version } else { rejection = written.reply }
        }
        Self.expect(try #require(rejection), 413, "state_too_large", names: "FLOWHUB_MAX_STATE_BYTES")
        let kept = try #require(try await hub.api.state(of: "grown"))
        #expect(kept.version == version && kept.state.bytes.count <= 1_024 && kept.state.bytes.count > 1_000)
        #expect(try await hub.api.patch("grown", jsonText(#"{"a":null}"#)).status == 200, "shrinking must be accepted")
    }

    @Test func limitsJSONDepth() async throws {
        let hub = try SharedHub.hub
        #expect(try await hub.api.put("depth", jsonText(#"{"a":{"b":{"c":{}}}}"#)).status == 201)
        Self.expect(
            try await hub.api.put("depth", jsonText(#"{"a":{"b":{"c":{"d":{}}}}}"#)).reply, 400, "json_too_deep", names: nil)
        #expect(try await hub.api.publish("a", jsonText("[[[]]]"), to: "depth").status == 201)
        Self.expect(try await hub.api.publish("a", jsonText("[[[[]]]]"), to: "depth").reply, 400, "json_too_deep", names: nil)
    }

    @Test func limitsFlowsAndTypesPerStream() async throws {
        let hub = try SharedHub.hub
        let two = EventStreamClient(.flows(["a", "b", "a"]), port: hub.port)
        try await two.connect()
        for _ in 0..<2 { _ = try await two.next(event: "snapshot") }
        Self.expect(try await hub.call("GET", "/v1/events?flow=a&flow=b&flow=c"), 400, "too_many_flows", names: nil)
        Self.expect(try await hub.call("GET", "/v1/events"), 400, "flow_missing", names: nil)
        let types = (0..<65).map { "t\($0)" }.joined(separator: ",")
        Self.expect(try await hub.call("GET", "/v1/events?flow=a&types=" + types), 400, "too_many_types", names: nil)
        let repeated = Array(repeating: "t", count: 65).joined(separator: ",")
        Self.expect(try await hub.call("GET", "/v1/events?flow=a&types=" + repeated), 400, "too_many_types", names: nil)
    }
}

extension HubProcess {
    /// The status of the response. It does not wait for the end of the body, which a stream does not have.
    fileprivate func status(of bytes: [UInt8]) async throws -> Int? {
        let exchange = try await RawExchange.open(port: self.port)
        defer { exchange.close() }
        try await exchange.send(bytes)
        try await eventually("the head of an answer") { exchange.receivedText.contains("\r\n\r\n") }
        return exchange.receivedText.split(separator: " ", maxSplits: 2).dropFirst().first.flatMap { Int($0) }
    }
}
