import FlowCore
import FlowTestKit
import Testing

/// Streams of many flows: by GET with one cursor, by POST and QUERY with a cursor for each flow.
@Suite(.hub(["FLOWHUB_LINGER_MS": "300", "FLOWHUB_HEARTBEAT_SECONDS": "1", "FLOWHUB_CORS_ORIGINS": "https://app.example"]))
struct ManyFlowsTests {
    private static func names(_ prefix: String, _ count: Int) -> [String] {
        (0..<count).map { "\(prefix)-\(String(repeating: "0", count: 4 - String($0).count))\($0)" }
    }

    private static func client(_ target: StreamTarget) throws -> EventStreamClient {
        EventStreamClient(target, port: try SharedHub.hub.port)
    }

    private static func caughtUp(_ client: EventStreamClient, _ count: Int) async throws {
        try await client.waitUntil("caught_up of \(count) flows", within: .seconds(40)) { log in
            Set(log.newest.filter { $0.event == "caught_up" }.compactMap(\.flow)).count == count ? () : nil
        }
    }

    private static func ended(_ client: EventStreamClient) async throws {
        try await client.waitUntil("the end") { log in
            log.newest.last { $0.event == "closing" }?.flow == nil && log.newest.contains { $0.event == "closing" } ? () : nil
        }
    }

    @Test(arguments: ["POST", "QUERY"]) func eachFlowResumesByItsOwnCursor(method: String) async throws {
        let api = try SharedHub.hub.api
        let flows = Self.names("each-\(method)", 5)
        for flow in flows { _ = try await api.publish((0..<3).map { _ in ("e", JSONText.null) }, to: flow) }
        let client = try Self.client(.posted(flows, method: method))
        try await client.connect()
        #expect(client.log.connections[0].header("content-type")?.hasPrefix("text/event-stream") == true)
        try await Self.caughtUp(client, 5)
        let epoch = try await ModelRun.epoch(SharedHub.hub, "show")
        #expect(client.log.cursors == Dictionary(uniqueKeysWithValues: flows.map { ($0, "\(epoch)-3") }))
        client.disconnect()
        for flow in flows { _ = try await api.publish("late", .null, to: flow) }

        // A position of each kind.
        var cursors = client.log.cursors
        cursors[flows[1]] = nil
        cursors[flows[2]] = "1.a-2"
        cursors[flows[3]] = "\(epoch)-\(FlowSetHash(of: []))-3.3"
        cursors[flows[4]] = "\"\(epoch)-2\""
        try await client.connect(.each(cursors))
        try await Self.caughtUp(client, 5)
        func events(_ index: Int) -> [String] {
            client.log.newest.filter { $0.flow == flows[index] && $0.event != "heartbeat" }
                .map { "\($0.event) \($0.version.map(String.init) ?? $0.json.member("reason")?.stringValue ?? "")" }
        }
        #expect(events(0) == ["late 4", "caught_up 4"])
        #expect(events(1) == ["snapshot 4", "caught_up 4"])
        #expect(events(2) == ["resync epoch", "snapshot 4", "caught_up 4"])
        #expect(events(3) == ["resync other_flows", "snapshot 4", "caught_up 4"])
        #expect(events(4) == ["e 3", "late 4", "caught_up 4"])
        // Live: the id is that of the event's flow.
        let id = try await api.publish("live", .null, to: flows[2]).version
        let live = try await client.next(event: "live")
        #expect(live.flow == flows[2] && live.id == "\(epoch)-\(id)")
        client.disconnect()
    }

    @Test func thousandFlowsOnOneStream() async throws {
        let hub = try SharedHub.hub
        let flows = Self.names("thousand", 1_000)
        for flow in flows.prefix(3) { _ = try await hub.api.put(flow, try jsonText(#"{"status":"running"}"#)) }
        let client = try Self.client(.posted(flows))
        try await client.connect()
        try await Self.caughtUp(client, 1_000)
        #expect(client.log.events("snapshot").count == 1_000)
        #expect(try await hub.api.metric("flowhub_stream_flows") ?? 0 >= 1_000)
        for flow in [flows[0], flows[999]] {
            let listed = try await hub.api.call("GET", "/v1/flows/\(flow)/connections").json.member("connections")?.elements
            #expect(listed?.count == 1, "the registry has an entry for each flow")
        }
        _ = try await hub.api.publish("e", .null, to: flows[999])
        #expect(try await client.next(event: "e").flow == flows[999])
        // One flow ends, the others go on.
        _ = try await hub.api.patch(flows[1], try jsonText(#"{"status":"completed"}"#))
        let closing = try await client.next(event: "closing")
        #expect(closing.flow == flows[1] && closing.json.member("reason")?.stringValue == "finished")
        #expect(closing.json.member("reconnect")?.boolValue == false)
        _ = try await hub.api.publish("e", .null, to: flows[2])
        #expect(try await client.next(event: "e").flow == flows[2])
        // After a cut every flow continues at its own position, without a snapshot.
        client.reset()
        try await client.connect()
        try await Self.caughtUp(client, 1_000)
        #expect(client.log.newest.allSatisfy { !["snapshot", "resync", "e"].contains($0.event) })
        client.disconnect()
        try await eventually("the flows to be uncounted") { try await hub.api.metric("flowhub_stream_flows") == 0 }
    }

    @Test func streamEndsWithItsLastFlowAndIsThenAnsweredWithoutContent() async throws {
        let api = try SharedHub.hub.api
        let flows = Self.names("ending", 3)
        let client = try Self.client(.posted(flows))
        try await client.connect()
        try await Self.caughtUp(client, 3)
        for flow in flows { _ = try await api.put(flow, try jsonText(#"{"status":"failed"}"#)) }
        try await Self.ended(client)
        #expect(client.log.newest.count { $0.event == "closing" } == 3)
        try await client.connect()
        #expect(client.log.status == 204)
        // One flow was reopened: the stream continues there.
        _ = try await api.patch(flows[1], try jsonText(#"{"status":"running"}"#))
        try await client.connect()
        #expect(client.log.status == 200)
        try await Self.caughtUp(client, 3)
        let resumed = client.log.newest.filter { $0.event == "state_update" }
        #expect(resumed.map(\.flow) == [flows[1]] && resumed.map(\.version) == [2], "\(resumed)")
        client.disconnect()
    }

    /// The cursor of a flow advances over events that the filter skips, without a block that names no flow.
    @Test func filteredEventsAdvanceCursorOfTheirFlow() async throws {
        let api = try SharedHub.hub.api
        let flows = Self.names("filtered", 20)
        let epoch = try await ModelRun.epoch(SharedHub.hub, "show")
        let client = try Self.client(.posted(flows).with { $0.types = ["wanted"] })
        try await client.connect()
        try await Self.caughtUp(client, 20)
        _ = try await api.publish((0..<5).map { _ in ("unwanted", JSONText.null) }, to: flows[3])
        _ = try await api.publish([("unwanted", .null), ("wanted", .null)], to: flows[4])
        try await client.waitUntil("the cursors") { log in
            log.cursors[flows[3]] == "\(epoch)-5" && log.cursors[flows[4]] == "\(epoch)-2" ? () : nil
        }
        #expect(client.log.blocks.allSatisfy { $0.id == nil || $0.flow != nil }, "every id names its flow")
        #expect(client.log.events("unwanted").isEmpty)
        client.disconnect()
        _ = try await api.publish("wanted", .null, to: flows[3])
        try await client.connect()
        _ = try await client.next("the event after the cut") { $0.event == "wanted" && $0.flow == flows[3] && $0.version == 6 }
        #expect(client.log.newest.allSatisfy { $0.event != "resync" && $0.event != "snapshot" })
        client.disconnect()
    }

    @Test func getTakesHundredFlowsWithOneCursor() async throws {
        let hub = try SharedHub.hub
        let flows = Self.names("hundred", 100)
        for flow in flows.suffix(2) { _ = try await hub.api.publish("e", .null, to: flow) }
        let client = try Self.client(.flows(flows))
        try await client.connect()
        try await Self.caughtUp(client, 100)
        #expect(client.lastEventID.utf8.count > Cursor.maximumPlainLength)
        client.disconnect()
        _ = try await hub.api.publish("e", .null, to: flows[7])
        for transport in [EventStreamClient.CursorTransport.header, .query] {
            try await client.connect(.kept, by: transport)
            try await Self.caughtUp(client, 100)
            #expect(client.log.newest.allSatisfy { $0.event != "snapshot" && $0.event != "resync" })
            client.disconnect()
        }
        #expect(client.log.events("e").compactMap(\.flow) == [flows[7]])
        // A browser sends a preflight for a header field of more than 128 bytes.
        let preflight = try await hub.call(
            "OPTIONS", "/v1/events",
            headers: [
                ("Origin", "https://app.example"), ("Access-Control-Request-Method", "GET"),
                ("Access-Control-Request-Headers", "last-event-id"),
            ])
        #expect(preflight.status == 204)
        #expect(preflight.header("access-control-allow-headers")?.contains("last-event-id") == true)
    }

    /// A target of 100 long ids is too long; the problem says what to do.
    @Test func targetOfLongIDsIsRejectedWithTheRemedy() async throws {
        let flows = (0..<100).map { String(repeating: "f", count: 124) + "\(1_000 + $0)" }
        let query = flows.map { "flow=\($0)" }.joined(separator: "&")
        let reply = try await SharedHub.hub.call("GET", "/v1/events?\(query)")
        #expect(reply.status == 414 && reply.json.member("detail")?.stringValue?.contains("POST /v1/events") == true)
        let client = try Self.client(.posted(flows))
        try await client.connect()
        try await Self.caughtUp(client, 100)
        client.disconnect()
    }

    @Test(arguments: [
        ("POST", #"{"flows":[]}"#, 400, "flow_missing"), ("QUERY", "{", 400, "bad_json"), ("POST", "[]", 400, "bad_parameter"),
        ("POST", #"{"flows":[{"flow_id":"a"}],"since":1}"#, 422, "unknown_member"),
        ("QUERY", #"{"flows":[{"flow_id":".."}]}"#, 400, "bad_flow_id"),
    ])
    func rejectsMalformedBodies(method: String, body: String, status: Int, code: String) async throws {
        let caller = HTTPCaller(port: try SharedHub.hub.port)
        let reply = try await caller.perform(HTTPCall(method, "/v1/events", body: Array(body.utf8)))
        #expect(reply.status == status && reply.problemCode == code, "\(reply.text)")
        // The connection goes on.
        #expect(try await caller.perform(HTTPCall("GET", "/v1/flows")).status == 200)
    }

    /// A hub without keys answers no foreign page, whatever the method.
    @Test func foreignPagesGetNoStream() async throws {
        let hub = try SharedHub.hub
        let body = #"{"flows":[{"flow_id":"a"}]}"#
        for method in ["POST", "QUERY"] {
            for headers in [[("Origin", "https://evil.example")], [("Origin", "null")], [("Sec-Fetch-Site", "cross-site")]] {
                let reply = try await hub.call(method, "/v1/events", headers: headers, body: body)
                #expect(reply.status == 403 && reply.problemCode == "origin_forbidden", "\(method) \(headers): \(reply.text)")
            }
            let rebound = try await hub.answer(
                to: Array(
                    "\(method) /v1/events HTTP/1.1\r\nHost: evil.example\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)"
                        .utf8))
            #expect(rebound.status == 421)
            let preflight = try await hub.call(
                "OPTIONS", "/v1/events",
                headers: [("Origin", "https://app.example"), ("Access-Control-Request-Method", method)])
            #expect(preflight.header("access-control-allow-methods")?.contains(method) == true)
        }
        let own = try Self.client(.posted(["a"]).with { $0.headers = [("Origin", "https://app.example")] })
        try await own.connect()
        _ = try await own.next(event: "snapshot")
        #expect(own.log.connections[0].header("access-control-allow-origin") == "https://app.example")
        own.disconnect()
    }
}

/// Access to streams of many flows, and their limits.
@Suite(
    .hub([
        "FLOWHUB_JWT_KEY": TestToken.key, "FLOWHUB_MAX_FLOWS_PER_POST": "50", "FLOWHUB_MAX_FLOWS_PER_SUBJECT": "60",
        "FLOWHUB_MAX_STREAM_FLOWS": "100", "FLOWHUB_MAX_BODY_BYTES": "8192", "FLOWHUB_RETRY_MS": "50",
        "FLOWHUB_CORS_ORIGINS": "https://app.example",
    ]))
struct ManyFlowsLimitTests {
    private static func names(_ count: Int) -> [String] { (0..<count).map { "f-\($0)" } }

    private static func stream(_ count: Int, _ subject: String) async throws -> EventStreamClient {
        let token = TestToken(subject: subject)
        let target = StreamTarget.posted(Self.names(count)).with { $0.headers = [token.header] }
        let client = EventStreamClient(target, port: try SharedHub.hub.port, name: "\(subject)'s of \(count)")
        try await client.connect()
        return client
    }

    private static func isFull(_ client: EventStreamClient) async throws -> Bool {
        try await client.waitUntil("an answer") { log in
            log.newest.first { $0.event == "snapshot" || $0.event == "closing" }.map { block in
                block.event == "closing" && block.json.member("reason")?.stringValue == "full"
            }
        }
    }

    @Test func limitsFlowsOfBodySubjectAndInstance() async throws {
        let hub = try SharedHub.hub
        let body = StreamTarget.posted(Self.names(51))
        let tooMany = EventStreamClient(body.with { $0.headers = [TestToken().header] }, port: hub.port)
        try await tooMany.connect()
        #expect(tooMany.log.status == 400)

        let first = try await Self.stream(50, "anna")
        #expect(try await !Self.isFull(first))
        #expect(try await Self.isFull(Self.stream(11, "anna")), "61 flows of one subject")
        let second = try await Self.stream(10, "anna")
        #expect(try await !Self.isFull(second))
        let third = try await Self.stream(40, "ben")
        #expect(try await !Self.isFull(third))
        #expect(try await Self.isFull(Self.stream(2, "carl")), "102 flows of the instance")
        #expect(try await !Self.isFull(Self.stream(1, "carl")), "a stream of one flow counts as a stream only")
        #expect(try await hub.api.metric("flowhub_stream_flows") == 100)
        first.disconnect()
        try await eventually("its flows to be uncounted") { try await hub.api.metric("flowhub_stream_flows") == 50 }
        #expect(try await !Self.isFull(Self.stream(50, "anna")))
    }

    @Test func tokenDecidesBeforeTheBodyIsRead() async throws {
        let hub = try SharedHub.hub
        for method in ["POST", "QUERY"] {
            // The body never arrives.
            let head = "\(method) /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n"
            let missing = try await hub.answer(to: Array((head + "\r\n").utf8))
            #expect(missing.status == 401 && missing.problemCode == "token_missing")
            let forged = try await hub.answer(to: Array((head + "Authorization: Bearer x.y.z\r\n\r\n").utf8))
            #expect(forged.status == 401 && forged.problemCode == "token_invalid")
        }
        let narrow = TestToken(subscribe: ["f-*"])
        let hidden = try await hub.call(
            "POST", "/v1/events", headers: [narrow.header], body: #"{"flows":[{"flow_id":"f-1"},{"flow_id":"g"}]}"#)
        #expect(hidden.status == 403 && hidden.text.contains("the flow g"))
        let large = try await hub.call(
            "POST", "/v1/events", headers: [narrow.header], body: String(repeating: " ", count: 8_193))
        #expect(large.status == 413 && large.problemCode == "body_too_large")
    }

    /// A stream changes nothing, so it needs no listed origin with the cookie, as GET needs none.
    @Test func cookieNeedsNoOrigin() async throws {
        let token = TestToken()
        for method in ["POST", "QUERY"] {
            let target = StreamTarget.posted(["f-1"], method: method).with {
                $0.headers = [("Cookie", "flowhub_token=\(token.text)")]
            }
            let client = EventStreamClient(target, port: try SharedHub.hub.port)
            try await client.connect()
            _ = try await client.next(event: "snapshot")
            client.disconnect()
        }
    }

    @Test func connectionServesFurtherRequestsAfterA204() async throws {
        let hub = try SharedHub.hub
        let token = TestToken()
        let api = hub.api.with(header: token.header.name, token.header.value)
        let tag = try #require(try await api.put("over", try jsonText(#"{"status":"completed"}"#)).reply.header("etag"))
        let body = JSONText.object { writer in
            writer.key("flows")
            writer.beginArray()
            writer.beginObject()
            writer.key("flow_id")
            writer.value("over")
            writer.key("after")
            writer.value(tag)
            writer.endObject()
            writer.endArray()
        }
        for _ in 0..<2 { #expect(try await api.call("POST", "/v1/events", body).status == 204) }
        #expect(try await api.call("GET", "/v1/flows/over/state").status == 200)
    }
}
