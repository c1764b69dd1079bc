import FlowCore
import FlowTestKit
import Testing

/// Each request has an id, which is in its response and in the problem document.
struct RequestIDTests {
    @Test func everyResponseHasAnIDOfItsOwn() async throws {
        let environment = ["FLOWHUB_JWT_KEY": TestToken.key, "FLOWHUB_CORS_ORIGINS": "https://app.example"]
        try await HubProcess.running(environment) { hub in
            let token = TestToken().header
            func head(_ line: String, _ fields: [String] = []) -> String {
                ([line + " HTTP/1.1", "Host: localhost", "\(token.name): \(token.value)"] + fields).joined(separator: "\r\n")
                    + "\r\n\r\n"
            }
            // The client chooses an id, but is no trusted proxy.
            let own = "X-Request-ID: mine"
            let requests: [(String, Int)] = [
                (head("GET /v1/flows", [own]), 200), (head("GET /v1/nothing", [own]), 404), (head("GET /"), 200),
                (head("PUT /v1/flows/f/state", ["Content-Length: 2"]) + "{}", 201), (head("HEAD /v1/flows/f/state"), 200),
                (head("OPTIONS /v1/flows", ["Origin: https://app.example", "Access-Control-Request-Method: PUT"]), 204),
                (head("PUT /v1/flows/f/state", ["Content-Length: 1"]) + "[", 400), (head("GET /v1/events"), 400),
                ("GET /v1/flows HTTP/1.1\r\nHost: localhost\r\n\r\n", 401),
                ("PUT /v1/flows/f/state HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}", 401),
                (head("PUT /v1/flows/f/state", ["Content-Length: 99999999"]), 413), ("nonsense\r\n\r\n", 400),
                ("GET /health/live HTTP/1.1\r\n\r\n", 400), (head("GET /v1/flows/f/events", [own]), 200),
                ("GET /v1/flows/f/events HTTP/1.1\r\nHost: localhost\r\n\r\n", 401),
            ]
            var ids: Set<String> = []
            for (request, status) in requests {
                let exchange = try await RawExchange.open(port: hub.port)
                defer { exchange.close() }
                try await exchange.send(request)
                try await eventually("the head of the response") { exchange.receivedText.contains("\r\n\r\n") }
                if status >= 400 { _ = try await exchange.replies(1) }
                let lines = exchange.receivedText.split(separator: "\r\n", omittingEmptySubsequences: false)
                #expect(lines[0].hasPrefix("HTTP/1.1 \(status) "), "\(request): \(lines[0])")
                let found = lines.filter { $0.lowercased().hasPrefix("x-request-id: ") }.map { $0.dropFirst(14) }
                let id = try #require(found.first.map(String.init), "\(request): \(exchange.receivedText)")
                #expect(found.count == 1 && id.count == 13 && ids.insert(id).inserted, "\(request)")
                if status >= 400 { #expect(exchange.receivedText.hasSuffix("\"request_id\":\"\(id)\"}"), "\(request)") }
            }
            let exposed = try await hub.call("GET", "/v1/flows", headers: [token, ("Origin", "https://app.example")])
            #expect(exposed.header("access-control-expose-headers")?.contains("X-Request-ID") == true)
            let pipelined = try await RawExchange.open(port: hub.port)
            defer { pipelined.close() }
            try await pipelined.send(String(repeating: head("GET /v1/flows"), count: 5))
            let replies = try await pipelined.replies(5)
            #expect(Set(replies.compactMap { $0.header("x-request-id") }).subtracting(ids).count == 5)
        }
    }

    @Test func idOfTrustedProxyIsTakenIfWellFormed() async throws {
        try await HubProcess.running(["FLOWHUB_TRUSTED_PROXIES": "127.0.0.1"]) { hub in
            for (sent, isTaken) in [
                ("abc-1", true), (String(repeating: "x", count: 128), true), (String(repeating: "x", count: 129), false),
                ("a b", false), ("a\"b", false), ("", false), ("ü", false),
            ] {
                let reply = try await hub.call("GET", "/v1/nothing", headers: [("X-Request-ID", sent)])
                let id = try #require(reply.header("x-request-id"))
                #expect((id == sent) == isTaken && !id.isEmpty, "\(sent)")
                #expect(reply.json.member("request_id")?.stringValue == id)
            }
        }
        // A proxy that uses the PROXY protocol passes the bytes of clients on as they are.
        let environment = ["FLOWHUB_TRUSTED_PROXIES": "127.0.0.1", "FLOWHUB_FORWARDED": "proxy-v2"]
        try await HubProcess.running(environment) { hub in
            let exchange = try await RawExchange.open(port: hub.port)
            defer { exchange.close() }
            let local: [UInt8] = [0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a, 0x20, 0, 0, 0]
            try await exchange.send(local + Array("GET /health/live HTTP/1.1\r\nHost: localhost\r\nX-Request-ID: a\r\n\r\n".utf8))
            #expect(try await exchange.replies(1)[0].header("x-request-id")?.count == 13)
        }
    }

    /// The files of `deploy/proxy`: the proxy makes the id, so that its log, the hub's log and the client have the same one.
    @Test(arguments: ReverseProxy.Kind.allCases)
    func proxyHubAndClientHaveTheSameID(_ kind: ReverseProxy.Kind) async throws {
        let environment = ["FLOWHUB_TRUSTED_PROXIES": "127.0.0.1", "FLOWHUB_ACCESS_LOG": "all"]
        try await HubProcess.running(environment) { hub in
            try await ReverseProxy.running(kind, before: [hub.port]) { proxy in
                let headers = [("X-Request-ID", "forged"), ("X-Forwarded-For", "203.0.113.9")]
                let reply = try await HTTPCaller(port: proxy.port).perform(
                    HTTPCall("PUT", "/v1/flows/f/state?a=hidden", headers: headers, body: Array("{}".utf8)))
                #expect(reply.status == 201)
                let id = try #require(reply.header("x-request-id"))
                #expect(id != "forged" && id.count > 13, "\(kind): \(id)")
                let line = try await hub.accessLogLine(of: id)
                // Caddy discards what the client has stated: it trusts no proxy in front of it.
                #expect(line["remote"] == (kind == .caddy ? "127.0.0.1" : "203.0.113.9"), "\(line)")
                #expect(line.summary("flow", "version") == "PUT /v1/flows/{flow}/state 201 f 1" && !hub.log.contains("hidden"))
                if kind != .caddy { try await eventually("the proxy's log") { proxy.log.contains(id) } }
                let stream = EventStreamClient(.flow("f"), port: proxy.port)
                try await stream.connect()
                _ = try await stream.next(event: "caught_up")
                let admitted = try #require(try await hub.accessLog("Stream admitted", count: 1).first)
                #expect(admitted["request"].map { $0.count > 13 } == true)
                stream.disconnect()
                let ended = try #require(try await hub.accessLog("Stream ended", count: 1).first)
                #expect(ended["request"] == admitted["request"] && ended["reason"] == "disconnected")
            }
        }
    }
}
