import FlowCore
import FlowTestKit
import Testing

/// The access of pages of other origins.
@Suite(.hub(["FLOWHUB_JWT_KEY": TestToken.key, "FLOWHUB_CORS_ORIGINS": "https://app.example,http://localhost:5173"]))
struct BrowserAccessTests {
    @Test(arguments: ["/v1/flows", "/v1/flows/a/events", "/v1/flows/%00/events", "/v1/flows/a/state", "/nothing"])
    func sendsCORSHeadersOnlyToAllowedOrigins(_ target: String) async throws {
        let hub = try SharedHub.hub
        for (origin, isAllowed) in [
            ("https://app.example", true), ("http://localhost:5173", true), ("https://app.example.evil", false),
            ("https://evil-app.example", false),
            ("http://app.example", false), ("null", false), ("https://app.example:8443", false),
        ] {
            for token in [TestToken().header, ("X-None", "")] {
                let exchange = try await RawExchange.open(port: hub.port)
                defer { exchange.close() }
                try await exchange.send(
                    "GET \(target) HTTP/1.1\r\nHost: localhost\r\nOrigin: \(origin)\r\n\(token.0): \(token.1)\r\n\r\n")
                try await eventually("an answer") { exchange.receivedText.contains("\r\n\r\n") }
                let head = exchange.receivedText.lowercased().split(separator: "\r\n\r\n")[0]
                #expect(head.contains("access-control-allow-origin: \(origin)\r\n") == isAllowed, "\(origin): \(head)")
                #expect(head.contains("access-control-allow-credentials: true") == isAllowed)
                #expect(!head.contains("access-control-allow-origin: *"))
                #expect((head + "\r\n").contains("vary: origin\r\n"))
            }
        }
    }

    @Test(arguments: ["/v1/flows/a/state", "/v1/flows/a/events", "/v1/locks/r"])
    func answersPreflightWithoutToken(_ target: String) async throws {
        let hub = try SharedHub.hub
        func ask(_ origin: String) async throws -> HTTPReply {
            try await hub.call(
                "OPTIONS", target,
                headers: [
                    ("Origin", origin), ("Access-Control-Request-Method", "PATCH"),
                    ("Access-Control-Request-Headers", "if-match"),
                ])
        }
        let allowed = try await ask("https://app.example")
        #expect(allowed.status == 204)
        #expect(allowed.header("access-control-allow-origin") == "https://app.example")
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
            #expect(allowed.header("access-control-allow-methods")?.contains(method) == true)
        }
        for name in ["authorization", "if-match", "idempotency-key", "fencing-token", "last-event-id"] {
            #expect(allowed.header("access-control-allow-headers")?.contains(name) == true)
        }
        let refused = try await ask("https://evil.example")
        #expect(refused.header("access-control-allow-origin") == nil && refused.header("access-control-allow-methods") == nil)
    }

    @Test func cookieAuthenticatedChangesNeedAllowedOrigin() async throws {
        let hub = try SharedHub.hub
        let cookie = ("Cookie", "flowhub_token=\(TestToken().text)")
        func write(_ headers: [(name: String, value: String)]) async throws -> HTTPReply {
            try await hub.call("PUT", "/v1/flows/cookie/state", headers: headers, body: "{}")
        }
        for origin in ["https://evil.example", "null", "https://app.example.evil", ""] {
            let reply = try await write([cookie, ("Origin", origin)])
            #expect(reply.status == 403 && reply.problemCode == "origin_forbidden", "\(origin): \(reply.text)")
        }
        #expect(try await write([cookie]).status == 403)
        for (method, target) in [
            ("POST", "/v1/flows/cookie/events"), ("PATCH", "/v1/flows/cookie/state"), ("DELETE", "/v1/flows/cookie/state"),
        ] {
            #expect(
                try await hub.call(method, target, headers: [cookie, ("Origin", "https://evil.example")], body: "{}").status
                    == 403)
        }
        #expect(try await hub.call("GET", "/v1/flows", headers: [cookie, ("Origin", "https://evil.example")]).status == 200)
        #expect(try await hub.call("GET", "/v1/flows/cookie/state", headers: [cookie]).status == 404, "nothing was written")
        #expect(try await write([cookie, ("Origin", "https://app.example")]).status == 201)
        #expect(try await write([cookie, ("Origin", "http://127.0.0.1")]).status == 200, "the hub's own page")
    }
}
