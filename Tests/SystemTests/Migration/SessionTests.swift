import FlowCore
import FlowTestKit
import Foundation
import Testing

/// The cookie `flowhub_token`, as `POST /v1/session` sets it.
@Suite(.hub(["FLOWHUB_JWT_KEY": TestToken.key, "FLOWHUB_CORS_ORIGINS": "https://*.example.app,https://app.example"]))
struct SessionTests {
    private static func begin(_ headers: [(name: String, value: String)]) async throws -> HTTPReply {
        try await SharedHub.hub.call("POST", "/v1/session", headers: headers)
    }

    /// The attributes of `Set-Cookie`, with the cookie itself under its name.
    private static func cookie(_ reply: HTTPReply) -> [String: String]? {
        guard let text = reply.header("set-cookie") else { return nil }
        var attributes: [String: String] = [:]
        for part in text.split(separator: ";") {
            let pair = part.split(separator: "=", maxSplits: 1).map { $0.trimmingCharacters(in: .whitespaces) }
            attributes[pair[0]] = pair.count > 1 ? pair[1] : ""
        }
        return attributes
    }

    @Test func sessionSetsCookieThatEndsWithTheToken() async throws {
        let token = TestToken(expiresIn: 500)
        let text = token.text
        let before = Int(Date().timeIntervalSince1970)
        let reply = try await Self.begin([("Authorization", "Bearer \(text)")])
        #expect(reply.status == 200 && reply.header("cache-control") == "no-store", "\(reply.text)")
        let cookie = try #require(Self.cookie(reply))
        #expect(cookie["flowhub_token"] == text)
        #expect(cookie["HttpOnly"] == "" && cookie["SameSite"] == "Strict" && cookie["Path"] == "/v1")
        // A loopback address without TLS.
        #expect(cookie["Secure"] == nil)
        let age = try #require(cookie["Max-Age"].flatMap { Int($0) })
        #expect((490...500).contains(age), "\(age)")
        let format = DateFormatter()
        format.locale = Locale(identifier: "en_US_POSIX")
        format.timeZone = TimeZone(identifier: "GMT")
        format.dateFormat = "EEE, dd MMM yyyy HH:mm:ss 'GMT'"
        let end = try #require(cookie["Expires"].flatMap { format.date(from: $0) })
        #expect((before + 499...before + 502).contains(Int(end.timeIntervalSince1970)))
        #expect(reply.json.member("expires_at")?.stringValue?.hasPrefix("20") == true)
        // The cookie opens what the token opens.
        let own = [(name: "Cookie", value: "flowhub_token=\(text)")]
        #expect(try await SharedHub.hub.call("GET", "/v1/flows", headers: own).status == 200)
    }

    @Test(arguments: ["hub.example.com", "10.1.2.3:8080", "localhost.example.com", "[2001:db8::1]:8080"])
    func cookieIsSecureExceptOnLoopbackAddresses(_ host: String) async throws {
        let hub = try SharedHub.hub
        func secure(_ host: String, _ more: String = "") async throws -> Bool {
            let request =
                "POST /v1/session HTTP/1.1\r\nHost: \(host)\r\n\(more)Authorization: Bearer \(TestToken().text)\r\n"
                + "Content-Length: 0\r\nConnection: close\r\n\r\n"
            let reply = try await hub.answer(to: Array(request.utf8))
            return try #require(Self.cookie(reply), "\(reply.text)")["Secure"] != nil
        }
        #expect(try await secure(host))
        #expect(try await !secure("localhost:8080"))
        #expect(try await secure("localhost:8443", "Origin: https://localhost:8443\r\n"), "behind a proxy with TLS")
    }

    @Test func sessionNeedsValidTokenInHeader() async throws {
        let hub = try SharedHub.hub
        let good = TestToken().text
        var forged = TestToken()
        forged.secret = "another key of the tests, of 32 bytes or more"
        let expired = TestToken(issuedIn: -1_000, expiresIn: -100).text
        // Valid for a moment after its end, because clocks may differ.
        let ending = TestToken(issuedIn: -1_000, expiresIn: -10).text
        let attempts: [(String, [(name: String, value: String)], String)] = [
            ("/v1/session", [], "token_missing"), ("/v1/session", [("Authorization", "Bearer x.y.z")], "token_invalid"),
            ("/v1/session", [forged.header], "token_invalid"),
            ("/v1/session", [("Authorization", "Bearer \(expired)")], "token_expired"),
            ("/v1/session", [("Authorization", "Bearer \(ending)")], "token_expired"),
            ("/v1/session?access_token=\(good)", [], "token_missing"),
            ("/v1/session", [("Cookie", "flowhub_token=\(good)"), ("Origin", "https://app.example")], "token_missing"),
        ]
        for (target, headers, code) in attempts {
            let reply = try await hub.call("POST", target, headers: headers)
            #expect(reply.status == 401 && reply.problemCode == code, "\(target) \(headers): \(reply.text)")
            #expect(reply.header("set-cookie") == nil)
        }
        let revoked = TestToken(subject: "revoked", scopes: ["admin"])
        let revocation = try await hub.call(
            "POST", "/v1/revocations", headers: [revoked.header, ("Content-Type", "application/json")],
            body: #"{"subject":"revoked"}"#)
        #expect(revocation.status < 300, "\(revocation.text)")
        let refused = try await Self.begin([TestToken(subject: "revoked", issuedIn: -5).header])
        #expect(refused.status == 401 && refused.problemCode == "token_revoked" && refused.header("set-cookie") == nil)
        #expect(try await hub.call("GET", "/v1/session", headers: [("Authorization", "Bearer \(good)")]).status == 405)
    }

    @Test func tokenThatNoBrowserStoresIsRefused() async throws {
        let token = TestToken(subscribe: (0..<150).map { "a-flow-with-a-long-name-\($0)" })
        let reply = try await Self.begin([token.header])
        #expect(
            reply.status == 422 && reply.problemCode == "token_too_long" && reply.header("set-cookie") == nil, "\(reply.text)")
    }

    @Test func onlyListedPagesBeginAndEndSessions() async throws {
        let hub = try SharedHub.hub
        for (origin, isAllowed) in [
            ("https://app.example", true), ("https://preview-1.example.app", true), ("https://example.app", false),
            ("https://a.b.example.app", false), ("https://evil.example", false), ("null", false), ("http://127.0.0.1", true),
        ] {
            let begun = try await Self.begin([TestToken().header, ("Origin", origin)])
            #expect((begun.status == 200) == isAllowed && (begun.header("set-cookie") != nil) == isAllowed, "\(origin)")
            if !isAllowed { #expect(begun.problemCode == "origin_forbidden") }
            let ended = try await hub.call("DELETE", "/v1/session", headers: [("Origin", origin)])
            #expect(ended.status == (isAllowed ? 204 : 403), "\(origin): \(ended.text)")
        }
    }

    @Test func endOfSessionRemovesCookieWithoutToken() async throws {
        let hub = try SharedHub.hub
        // A browser with the cookie of a revoked or unreadable token must be able to remove it.
        for headers in [[], [("Cookie", "flowhub_token=x.y.z")], [TestToken().header]] as [[(name: String, value: String)]] {
            let reply = try await hub.call("DELETE", "/v1/session", headers: headers)
            let cookie = try #require(Self.cookie(reply), "\(reply.text)")
            #expect(reply.status == 204 && cookie["flowhub_token"] == "" && cookie["Max-Age"] == "0" && cookie["Path"] == "/v1")
        }
        for target in ["/v1/session/x", "/v1/sessions"] {
            #expect(try await hub.call("DELETE", target).status == 404, "\(target)")
        }
    }

    @Test func hubWithoutKeysNeedsNoSession() async throws {
        try await HubProcess.running { hub in
            let reply = try await hub.call("POST", "/v1/session", headers: [("Authorization", "Bearer x")])
            #expect(reply.status == 200 && reply.header("set-cookie") == nil && reply.json.member("expires_at")?.isNull == true)
        }
    }
}

/// Sessions in a real browser.
@Suite(.serialized) struct SessionBrowserTests {
    @Test func pageKeepsTokenInCookieOnly() async throws {
        try await HubProcess.running(["FLOWHUB_JWT_KEY": TestToken.key, "FLOWHUB_RETRY_MS": "100"]) { hub in
            let token = TestToken().text
            #expect(
                try await hub.call("PUT", "/v1/flows/f/state", headers: [TestToken().header], body: #"{"n":1}"#).status == 201)
            try await Chromium.running { browser in
                let url = "http://127.0.0.1:\(hub.port)/"
                let page = try await BrowserPage.open(url, in: browser)
                try await page.wait("the token form", until: "document.body?.dataset.connection === 'unauthorized'")
                _ = try await page.value("useToken('\(token)')")
                try await page.wait("the list", until: "document.querySelectorAll('#flows > li[data-flow-id=f]').length === 1")
                #expect(page.requests(for: "access_token") == 0)
                let kept = try await page.value("document.cookie + JSON.stringify({...sessionStorage, ...localStorage})")
                    .stringValue
                #expect(kept?.contains(token) == false, "\(kept ?? "")")

                // A second tab needs no token. Its stream is a plain EventSource, and its changes pass the check of `Origin`.
                let tab = try await BrowserPage.open(url + "#flow=f", in: browser)
                try await tab.waitForState(#"{"n":1}"#, version: 1)
                #expect(
                    try await tab.value("api('PATCH', 'v1/flows/f/state', '{\"n\":2}').then((r) => r.status)").intValue == 200)
                try await tab.waitForState(#"{"n":2}"#, version: 2)
                #expect(tab.requests(for: "access_token") == 0 && tab.pageErrors.isEmpty, "\(tab.pageErrors)")

                _ = try await tab.value("useToken('')")
                try await tab.wait("the token form", until: "document.body?.dataset.connection === 'unauthorized'")
            }
        }
    }

    /// A front end on another host of the same site, and a page of another site.
    @Test func eventSourceOfTheSameSiteUsesTheCookie() async throws {
        try await HubProcess.running(["FLOWHUB_JWT_KEY": TestToken.key]) { site in
            let environment = [
                "FLOWHUB_JWT_KEY": TestToken.key, "FLOWHUB_CORS_ORIGINS": "http://*.shop.localhost:\(site.port)",
            ]
            try await HubProcess.running(environment) { hub in
                #expect(
                    try await hub.call("PUT", "/v1/flows/f/state", headers: [TestToken().header], body: #"{"n":1}"#).status == 201
                )
                try await Chromium.running(loopbackNames: ["*.localhost"]) { browser in
                    let base = "http://hub.shop.localhost:\(hub.port)"
                    func open(_ host: String) async throws -> BrowserPage {
                        let page = try await BrowserPage.open("http://\(host):\(site.port)/health/live", in: browser)
                        try await page.wait(
                            "the page", until: "location.hostname === '\(host)' && document.readyState === 'complete'")
                        return page
                    }
                    func hears(_ page: BrowserPage) async throws -> Bool? {
                        try await page.value(
                            """
                            new Promise((done) => {
                              const source = new EventSource('\(base)/v1/flows/f/events', { withCredentials: true });
                              source.addEventListener('snapshot', () => { source.close(); done(true); });
                              source.onerror = () => { source.close(); done(false); };
                            })
                            """
                        ).boolValue
                    }
                    func status(_ page: BrowserPage, _ method: String, _ path: String, _ more: String) async throws -> Int64? {
                        try await page.value(
                            """
                            fetch('\(base)\(path)', { method: '\(method)', credentials: 'include', \(more) })
                              .then((r) => r.status, () => 0)
                            """
                        ).intValue
                    }
                    let app = try await open("app.shop.localhost")
                    #expect(try await hears(app) == false, "without a session")
                    let bearer = "headers: { Authorization: 'Bearer \(TestToken().text)' }"
                    #expect(try await status(app, "POST", "/v1/session", bearer) == 200)
                    #expect(try await hears(app) == true)
                    #expect(
                        try await status(
                            app, "PATCH", "/v1/flows/f/state",
                            #"body: '{"n":2}', "#
                                + "headers: { 'Content-Type': 'application/merge-patch+json' }") == 200)

                    // A page of another site has neither the cookie nor a right to read or change anything.
                    let other = try await open("evil.localhost")
                    #expect(try await hears(other) == false)
                    #expect(try await status(other, "POST", "/v1/session", bearer) == 0)
                    #expect(try await status(other, "POST", "/v1/flows/f/events", #"mode: 'no-cors', body: '{"type":"x"}'"#) == 0)
                    // A host that is two labels below the listed domain is not listed either.
                    let deep = try await open("a.b.shop.localhost")
                    #expect(try await hears(deep) == false)

                    #expect(try await status(app, "DELETE", "/v1/session", "") == 204)
                    #expect(try await hears(app) == false)
                    let state = try await hub.call("GET", "/v1/flows/f/state", headers: [TestToken().header])
                    #expect(state.json.member("version")?.intValue == 2, "\(state.text)")
                }
            }
        }
    }
}
