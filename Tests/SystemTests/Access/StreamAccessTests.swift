import FlowCore
import FlowTestKit
import Testing

/// Access to streams, flows and accounts by token, and its expiry.
@Suite(
    .hub([
        "FLOWHUB_JWT_KEY": TestToken.key, "FLOWHUB_JWT_LEEWAY": "0", "FLOWHUB_LOG_LEVEL": "trace",
        "FLOWHUB_CORS_ORIGINS": "https://app.example,http://localhost:5173", "FLOWHUB_HEARTBEAT_SECONDS": "300",
    ]))
struct StreamAccessTests {
    private static func api(_ token: TestToken) throws -> HubAPI {
        try SharedHub.hub.api.with(header: "Authorization", "Bearer \(token.text)")
    }

    private static func stream(_ target: StreamTarget, _ token: TestToken, name: String = "subscriber") async throws
        -> EventStreamClient
    {
        let stream = EventStreamClient(target.with { $0.headers.append(token.header) }, port: try SharedHub.hub.port, name: name)
        try await stream.connect()
        return stream
    }

    private static func closing(_ stream: EventStreamClient, within timeout: Duration = .seconds(15)) async throws -> String? {
        try await stream.waitUntilEnded(within: timeout)
        let last = stream.log.newest.last
        return last?.event == "closing" ? last?.json.string : last?.description
    }

    // MARK: Tokens

    static let ways = ["bearer", "cookie", "query"]

    private static func request(_ target: String, _ token: String, by way: String) -> (
        target: String, headers: [(name: String, value: String)]
    ) {
        switch way {
        case "bearer": (target, [("Authorization", "Bearer \(token)")])
        case "cookie": (target, [("Cookie", "theme=dark; flowhub_token=\(token)")])
        default: (target + (target.contains("?") ? "&" : "?") + "access_token=\(token)", [])
        }
    }

    @Test(arguments: ["/v1/flows", "/v1/flows/a/state", "/v1/flows/a/events", "/v1/events?flow=a", "/v1/feed"])
    func rejectsMissingAndInvalidTokens(_ target: String) async throws {
        let hub = try SharedHub.hub
        let good = TestToken().text
        let forged = good.dropLast(2) + (good.hasSuffix("AA") ? "BB" : "AA")
        let expired = TestToken(issuedIn: -20, expiresIn: -10).text
        var requests = [(target, [(name: String, value: String)](), "token_missing")]
        for way in Self.ways {
            for (token, code) in [(String(forged), "token_invalid"), ("", "token_invalid"), (expired, "token_expired")] {
                let (target, headers) = Self.request(target, token, by: way)
                requests.append((target, headers, code))
            }
        }
        for (target, headers, code) in requests {
            let reply = try await hub.call("GET", target, headers: headers)
            #expect(reply.status == 401, "\(target) \(headers)")
            #expect(reply.json.member("title")?.stringValue == "Unauthorized")
            #expect(reply.problemCode == code, "\(target) \(headers): \(reply.text)")
            #expect(reply.header("content-type") == "application/problem+json")
            #expect(reply.header("www-authenticate")?.hasPrefix("Bearer") == true)
        }
        #expect(try await hub.call("GET", "/health/ready").status == 200, "health needs no token")
    }

    @Test(arguments: ways)
    func acceptsTokenInHeaderCookieOrQueryAndNeverLogsIt(_ way: String) async throws {
        let hub = try SharedHub.hub
        let token = TestToken(subject: "ways").text
        let (target, headers) = Self.request("/v1/flows", token, by: way)
        #expect(try await hub.call("GET", target, headers: headers).status == 200)
        let exchange = try await RawExchange.open(port: hub.port)
        defer { exchange.close() }
        let stream = Self.request("/v1/flows/ways/events", token, by: way)
        try await exchange.send(
            "GET \(stream.target) HTTP/1.1\r\nHost: localhost\r\n" + stream.headers.map { "\($0.name): \($0.value)\r\n" }.joined()
                + "\r\n")
        try await eventually("the snapshot") { exchange.receivedText.contains("event: snapshot") }
        #expect(!hub.log.contains(token), "the token is in the log")
        #expect(!hub.log.contains("access_token="))
        #expect(hub.log.contains("Stream opened"), "the log has no debug lines, so the checks above prove nothing")
    }

    @Test func neverLogsTokenOfBrokenRequest() async throws {
        let hub = try SharedHub.hub
        let token = TestToken().text
        for target in [
            "/v1/nothing?access_token=\(token)", "/v1/flows/%00/events?access_token=\(token)",
            "/v1/flows/a/state?%61ccess_token=\(token)",
        ] {
            let status = try await hub.call("GET", target).status
            #expect((400..<500).contains(status))
        }
        _ = try await hub.answer(
            to: Array("GET /v1/flows?access_token=\(token) HTTP/1.1\r\nHost: localhost\r\nX\0: a\r\n\r\n".utf8))
        #expect(!hub.log.contains(token))
    }

    @Test func streamEndsWhenTokenExpires() async throws {
        let stream = try await Self.stream(.flow("expiry"), TestToken(expiresIn: 2))
        _ = try await stream.next(event: "snapshot")
        #expect(try await Self.closing(stream) == #"{"type":"closing","reason":"expired","reconnect":false}"#)
        try await stream.connect()
        #expect(stream.log.status == 401)
    }

    // MARK: Flows and accounts

    @Test func flowPatternsLimitSubscribeAndPublish() async throws {
        let token = TestToken(subscribe: ["seen-*", "one"], publish: ["changed-*"])
        let api = try Self.api(token)
        for flow in ["seen-1", "one"] {
            let stream = try await Self.stream(.flow(flow), token)
            #expect(stream.log.status == 200)
        }
        for flow in ["one-more", "seen", "changed-1", "SEEN-1"] {
            let stream = try await Self.stream(.flow(flow), token)
            #expect(stream.log.status == 403, "\(flow)")
        }
        let several = try await Self.stream(.flows(["seen-1", "other"]), token)
        #expect(several.log.status == 403, "one forbidden flow must reject the whole stream")
        #expect(try await api.put("changed-1", .emptyObject).status == 201)
        #expect(try await api.put("seen-1", .emptyObject).status == 403)
        #expect(try await api.publish("a", .null, to: "seen-1", durable: false).status == 403)
        #expect(try await api.call("GET", "/v1/flows/changed-1/state").status == 403)
        #expect(try await api.call("GET", "/v1/flows/changed-1/history").status == 403)
        #expect(try await api.call("GET", "/v1/flows").json.member("flows")?.elements.isEmpty == true)
    }

    @Test func transientEventsOfUnknownFlowStayInAccount() async throws {
        let streams = [
            try await Self.stream(.flow("ticks"), TestToken(account: "7"), name: "7"),
            try await Self.stream(.flow("ticks"), TestToken(account: "8"), name: "8"),
        ]
        for stream in streams { _ = try await stream.next(event: "snapshot") }
        for (index, account) in ["7", "8"].enumerated() {
            let api = try Self.api(TestToken(account: account))
            #expect(try await api.publish("tick", jsonText(account), to: "ticks", durable: false).status == 202)
            // The account's own event has arrived, so the other account's, published before, would have arrived as well.
            _ = try await streams[index].next(event: "tick")
        }
        #expect(try await Self.api(TestToken(account: "7")).publish("end", .null, to: "ticks", durable: false).status == 202)
        _ = try await streams[0].next(event: "end")
        for (stream, account) in zip(streams, ["7", "8"]) {
            #expect(stream.log.events("tick").map { $0.json.member("data")?.string } == [account])
        }
        let late = try await Self.stream(.flow("ticks"), TestToken(account: "8"), name: "late")
        let last = try await late.next(event: "snapshot").json.member("last")
        #expect(last?.member("end") == nil && last?.member("tick")?.member("data")?.string != "7", "\(last?.string ?? "")")
    }

    @Test func latestTransientsStayInAccountAfterFlowCreation() async throws {
        let theirs = try Self.api(TestToken(account: "7"))
        #expect(try await theirs.publish("tick", jsonText("7"), to: "kept-ticks", durable: false).status == 202)
        let mine = try await Self.stream(.flow("kept-ticks"), TestToken(account: "8"), name: "before")
        #expect(try await mine.next(event: "snapshot").json.member("last")?.string ?? "{}" == "{}")
        mine.disconnect()
        #expect(try await Self.api(TestToken(account: "8")).publish("made", .null, to: "kept-ticks").status == 201)
        let after = try await Self.stream(.flow("kept-ticks"), TestToken(account: "8"), name: "after")
        #expect(try await after.next(event: "snapshot").json.member("last")?.string ?? "{}" == "{}")
    }

    @Test func feedShowsOnlyPermittedFlowsOfAccount() async throws {
        let feed = try await Self.stream(.feed, TestToken(account: "9", subscribe: ["fed-*"]))
        _ = try await feed.next(event: "flows")
        for (account, flow) in [("10", "fed-theirs"), ("9", "hidden"), ("9", "fed-mine")] {
            #expect(try await Self.api(TestToken(account: account)).put(flow, .emptyObject).status == 201)
        }
        _ = try await feed.next("the account's flow") { $0.flow == "fed-mine" }
        #expect(Set(feed.log.events("flow").compactMap(\.flow)) == ["fed-mine"])
    }
}
