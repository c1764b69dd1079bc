import FlowCore
import FlowTestKit
import Testing

/// Methods, and paths with empty segments: the same for every route.
@Suite(.hub()) struct MethodTests {
    /// Every route, with the methods of `Allow`.
    static let routes: [(path: String, methods: String)] = [
        ("/", "GET, HEAD, OPTIONS"), ("/page.js", "GET, HEAD, OPTIONS"), ("/metrics", "GET, HEAD, OPTIONS"),
        ("/health/live", "GET, HEAD, OPTIONS"), ("/health/ready", "GET, HEAD, OPTIONS"),
        ("/health/storage", "GET, HEAD, OPTIONS"),
        ("/v1/feed", "GET, HEAD, OPTIONS"), ("/v1/flows", "GET, HEAD, OPTIONS"),
        ("/v1/flows/f/state", "DELETE, GET, HEAD, OPTIONS, PATCH, PUT"), ("/v1/flows/f/events", "GET, HEAD, OPTIONS, POST"),
        ("/v1/flows/f/history", "GET, HEAD, OPTIONS"), ("/v1/flows/f/connections", "GET, HEAD, OPTIONS"),
        ("/v1/connections/i.1", "DELETE, OPTIONS"), ("/v1/revocations", "OPTIONS, POST"),
        ("/v1/session", "DELETE, OPTIONS, POST"),
        ("/v1/locks/r", "DELETE, OPTIONS, POST, PUT"), ("/v1/patterns/k", "DELETE, GET, HEAD, OPTIONS, PUT"),
        ("/v1/imports", "GET, HEAD, OPTIONS, POST"),
        ("/v1/imports/6f1c0000-0000-4000-8000-000000000000", "DELETE, GET, HEAD, OPTIONS"),
        ("/v1/imports/6f1c0000-0000-4000-8000-000000000000/data", "GET, HEAD, OPTIONS"),
    ]

    @Test(arguments: routes.map { [$0.path, $0.methods] }) func wrongMethodIsAnsweredWithAllow(_ route: [String]) async throws {
        let hub = try SharedHub.hub
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND"] {
            if route[1].split(separator: ", ").contains(Substring(method)) { continue }
            for path in [route[0], route[0] + "/", "/" + route[0]] {
                let reply = try await hub.call(method, path, body: method == "PATCH" ? "{}" : nil)
                #expect(reply.status == 405, "\(method) \(path): \(reply.status) \(reply.text)")
                #expect(reply.header("allow") == route[1], "\(method) \(path): \(reply.header("allow") ?? "-")")
                if method != "HEAD" { #expect(reply.problemCode == "method_not_allowed") }
            }
        }
        let options = try await hub.call("OPTIONS", route[0])
        #expect(options.status == 204 && options.header("allow") == route[1] && options.body.isEmpty, "\(options)")
    }

    /// `/v1/events` has further methods than GET.
    @Test func wrongMethodOfManyFlowsIsAnsweredWithAllow() async throws {
        let reply = try await SharedHub.hub.call("DELETE", "/v1/events")
        #expect(reply.status == 405 && reply.header("allow")?.hasPrefix("GET, HEAD, OPTIONS") == true, "\(reply)")
    }

    @Test func unknownPathHasNoMethods() async throws {
        for method in ["GET", "OPTIONS", "DELETE"] {
            let reply = try await SharedHub.hub.call(method, "/v1/nothing")
            #expect(reply.status == 404 && reply.header("allow") == nil, "\(method)")
        }
    }

    @Test func everyRouteIsTheSameWithTrailingSlash() async throws {
        let hub = try SharedHub.hub
        #expect(try await hub.call("PUT", "/v1/flows/slash/state/", body: #"{"a":1}"#).status == 201)
        #expect(try await hub.call("GET", "/v1/flows/slash/state/").json.member("state")?.string == #"{"a":1}"#)
        #expect(try await hub.call("POST", "/v1/flows/slash/events/", body: #"{"type":"a"}"#).status == 201)
        #expect(try await hub.call("POST", "/v1/imports/?file_name=a.csv", body: "a\n1\n").status == 201)
        #expect(try await hub.call("GET", "/page.js/").status == 200)
        #expect(try await hub.call("GET", "/health/live/").status == 200)
        // The same request, with and without the slash.
        let key = [(name: "Idempotency-Key", value: "slash")]
        let first = try await hub.call("POST", "/v1/flows/slash/events", headers: key, body: #"{"type":"b"}"#)
        let second = try await hub.call("POST", "/v1/flows/slash/events/", headers: key, body: #"{"type":"b"}"#)
        #expect(first.status == 201 && second.header("idempotency-replayed") == "true", "\(second.text)")
        for target in ["/v1/flows/slash/events/?types=none", "//v1//events/?flow=slash", "/v1/feed/"] {
            let stream = try await RawExchange.open(port: hub.port)
            defer { stream.close() }
            try await stream.send("GET \(target) HTTP/1.1\r\nHost: localhost\r\n\r\n")
            let event = target.contains("feed") ? "event: flows" : "event: snapshot"
            try await eventually("the stream of \(target)") { stream.receivedText.contains(event) }
        }
    }

    // MARK: HEAD

    @Test func headOfStreamAnswersLikeGETWithoutStream() async throws {
        let hub = try SharedHub.hub
        let ended = try await hub.api.put("ended", jsonText(#"{"status":"completed"}"#))
        let epoch = try #require(try await hub.api.state(of: "ended")?.tag.split(separator: "-").first?.dropFirst())
        let before = try await hub.api.metric("flowhub_connections")
        for (target, status) in [
            ("/v1/flows/new/events", 200), ("/v1/flows/new/events/", 200), ("/v1/events?flow=a&flow=b", 200), ("/v1/feed", 200),
            ("/v1/flows/ended/events", 200), ("/v1/flows/ended/events?last_event_id=\(epoch)-\(ended.version)", 204),
            ("/v1/flows/ended/events?last_event_id=\(epoch)-0", 200), ("/v1/flows/%00/events", 400), ("/v1/events", 400),
            ("/v1/flows/new/events?types=a%20b", 400), ("/v1/flows/ended/events?last_event_id=x", 200),
        ] {
            // The connection stays usable: what follows the head is the next response.
            let exchange = try await RawExchange.open(port: hub.port)
            defer { exchange.close() }
            try await exchange.send("HEAD \(target) HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost\r\n\r\n")
            try await eventually("the head of \(target)") { exchange.receivedText.contains("\r\n\r\n") }
            let head = exchange.receivedText.lowercased()
            #expect(head.hasPrefix("http/1.1 \(status) "), "\(target): \(head)")
            #expect(head.contains("content-type: text/event-stream") == (status == 200), "\(target): \(head)")
            #expect(head.contains("\r\nx-request-id: "))
            try await exchange.send("GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            try await exchange.waitUntilClosed()
            let rest = exchange.receivedText.dropFirst(head.count)
            #expect(rest.hasPrefix("HTTP/1.1 200 OK\r\n"), "\(target): \(rest)")
        }
        #expect(try await hub.api.metric("flowhub_connections") == before)
    }

    @Test func headOfStreamNeedsToken() async throws {
        try await HubProcess.running(["FLOWHUB_JWT_KEY": TestToken.key]) { hub in
            let mine = TestToken(subscribe: ["mine"]).header
            for (flow, headers, status) in [
                ("mine", [], 401), ("mine", [("Authorization", "Bearer x.y.z")], 401), ("other", [mine], 403),
                ("mine", [mine], 200),
            ] as [(String, [(name: String, value: String)], Int)] {
                let reply = try await hub.call("HEAD", "/v1/flows/\(flow)/events", headers: headers)
                #expect(reply.status == status && reply.body.isEmpty, "\(flow): \(reply)")
            }
        }
    }

    @Test(
        arguments: routes.filter { $0.methods.contains("HEAD") && $0.path != "/v1/feed" && !$0.path.hasSuffix("events") }.map(
            \.path))
    func headAnswersLikeGETOnEveryRoute(_ path: String) async throws {
        let hub = try SharedHub.hub
        let (get, head) = (try await hub.call("GET", path), try await hub.call("HEAD", path))
        #expect(head.status == get.status && head.body.isEmpty)
        for name in ["content-type", "etag", "cache-control"] { #expect(head.header(name) == get.header(name), "\(name)") }
    }
}
