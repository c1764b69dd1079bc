import FlowHTTP
import HTTPTypes
import Testing

@Suite struct CORSPolicyTests {
    private func written(_ headers: HTTPFields) -> [String] { headers.map { "\($0.name.rawName): \($0.value)" } }

    @Test(arguments: [
        ("https://app.example.com", true), ("http://localhost:5173", true), ("https://app.example.com:443", false),
        ("http://app.example.com", false), ("https://app.example.com.evil.example", false),
        ("https://evil-app.example.com", false),
        ("https://app.example.com/", false), ("https://APP.example.com", false), ("http://localhost", false), ("null", false),
        ("", false),
        ("*", false),
    ])
    func comparesWholeOrigin(_ origin: String, _ allowed: Bool) throws {
        let policy = try CORSPolicy(origins: ["https://App.Example.com:443", "http://localhost:5173"])
        #expect(policy.allowed(origin: origin) == allowed)
        #expect(!policy.allowed(origin: nil))
    }

    @Test(arguments: [
        "", " ", "app.example.com", "https://", "https://a/", "https://a/path", "https://a?x", "https://user@a", "null",
        "https://*.a", "**",
        "https://a:", "https://a:x", "https://a:+80", "https://a:70000", "https://a:0", "https://a b", "https://[::1", "//a",
        "https:/a",
        "https://ä.example", "https://[]", "https://a,https://b", " https://a",
    ])
    func rejectsInvalidOriginEntry(_ entry: String) {
        let error = #expect(throws: AccessConfigurationError.self) { try CORSPolicy(origins: ["https://ok", entry]) }
        #expect(error?.setting == "FLOWHUB_CORS_ORIGINS")
    }

    @Test(arguments: [
        "https://a", "http://[::1]:8080", "http://127.0.0.1:3000", "capacitor://localhost", "chrome-extension://abcdef",
    ])
    func acceptsValidOriginEntry(_ entry: String) throws {
        #expect(try CORSPolicy(origins: [entry]).allowed(origin: entry))
    }

    @Test(arguments: [
        ("https://a.example.app", true), ("https://preview-1_x.example.app", true), ("https://9.example.app", true),
        ("https://example.app", false), ("https://.example.app", false), ("https://a.b.example.app", false),
        ("https://*.example.app", false), ("http://a.example.app", false), ("https://a.example.app:8443", false),
        ("https://a.example.app:443", false), ("https://A.example.app", false), ("https://aexample.app", false),
        ("https://evil.com/.example.app", false), ("https://evil.com:80.example.app", false),
        ("https://u@a.example.app", false), ("https://a.example.app.evil.com", false), ("https://a.example.app/", false),
        ("https://ä.example.app", false), ("null", false), ("", false),
        ("https://\(String(repeating: "a", count: 64)).example.app", false),
        ("http://a.b.localhost:5173", true), ("http://a.b.localhost", false), ("http://a.b.localhost:51730", false),
    ])
    func wildcardStandsForExactlyOneLabel(_ origin: String, _ allowed: Bool) throws {
        let policy = try CORSPolicy(origins: ["https://*.Example.app:443", "http://*.b.localhost:5173"])
        #expect(policy.allowed(origin: origin) == allowed)
        #expect(policy.isListedOrOwn(origin: origin, host: "hub.example.com", isSecure: false) == allowed)
        #expect(
            self.written(policy.headers(for: origin)).contains("Access-Control-Allow-Credentials: true") == allowed)
        #expect(self.written(policy.headers(for: origin)).contains("Vary: Origin"))
    }

    @Test(arguments: [
        "https://*", "https://*.", "https://*.app", "https://*.app:8443", "https://a.*.example.app", "https://*a.example.app",
        "https://*.*.example.app", "https://**.example.app", "https://*.0.0.1", "https://*.example.app/", "https://*..app",
        "https://*.example.", "*.example.app", "https://*.example.app:0", "https://*.[::1]", "https://[*.example.app]",
        "https://*.example.app:*",
    ])
    func rejectsWildcardElsewhere(_ entry: String) {
        #expect(throws: AccessConfigurationError.self) { try CORSPolicy(origins: [entry]) }
    }

    private static let exposed =
        "Access-Control-Expose-Headers: ETag, Location, Retry-After, X-Request-ID, Idempotency-Replayed, Allow, WWW-Authenticate"

    @Test func responseHeadersAllowOnlyListedOrigin() throws {
        let policy = try CORSPolicy(origins: ["https://a"])
        #expect(
            self.written(policy.headers(for: "https://a")) == [
                "Access-Control-Allow-Origin: https://a", "Access-Control-Allow-Credentials: true", "Vary: Origin",
                Self.exposed,
            ])
        #expect(self.written(policy.headers(for: "https://b")) == ["Vary: Origin"])
        #expect(self.written(policy.headers(for: nil)) == ["Vary: Origin"])
        #expect(self.written(try CORSPolicy(origins: []).headers(for: "https://a")) == [])
    }

    @Test func preflightHeadersListMethodsAndHeaders() throws {
        let policy = try CORSPolicy(origins: ["https://a"])
        #expect(
            self.written(policy.preflightHeaders(for: "https://a")) == [
                "Access-Control-Allow-Origin: https://a", "Access-Control-Allow-Credentials: true", "Vary: Origin",
                "Access-Control-Allow-Methods: GET, HEAD, POST, PUT, PATCH, DELETE, QUERY",
                "Access-Control-Allow-Headers: authorization, content-type, content-encoding, if-match, if-none-match, "
                    + "idempotency-key, fencing-token, last-event-id, cache-control, pragma, x-requested-with, x-request-id, "
                    + "traceparent, tracestate, baggage, sentry-trace",
                "Access-Control-Max-Age: 7200",
            ])
        #expect(self.written(policy.preflightHeaders(for: "https://b")) == ["Vary: Origin"])
    }

    @Test func starDoesNotAllowCredentials() throws {
        let policy = try CORSPolicy(origins: ["*"])
        #expect(policy.allowed(origin: "https://anybody"))
        #expect(
            self.written(policy.headers(for: "https://anybody")) == [
                "Access-Control-Allow-Origin: *", Self.exposed,
            ])
        #expect(!policy.isListedOrOwn(origin: "https://anybody", host: "hub.example.com", isSecure: false))
        let both = try CORSPolicy(origins: ["*", "https://a"])
        #expect(self.written(both.headers(for: "https://a")).contains("Access-Control-Allow-Credentials: true"))
        #expect(self.written(both.headers(for: "https://b")).prefix(2) == ["Access-Control-Allow-Origin: *", "Vary: Origin"])
    }

    @Test(
        arguments: [
            ("https://a", "hub.example.com", true), ("https://b", "hub.example.com", false), (nil, "hub.example.com", false),
            ("null", "hub.example.com", false), ("null", "null", false), ("", "", false), ("https://a", nil, true),
            ("https://hub.example.com", "hub.example.com", true), ("https://hub.example.com", "HUB.example.com", true),
            ("https://hub.example.com", "hub.example.com:443", true), ("http://hub.example.com", "hub.example.com:80", true),
            ("https://hub.example.com", "hub.example.com:80", false), ("https://hub.example.com:8443", "hub.example.com", false),
            ("http://localhost:8080", "localhost:8080", true), ("http://localhost:3000", "localhost:8080", false),
            ("http://[::1]:8080", "[::1]:8080", true), ("https://evil.example", "hub.example.com", false),
            ("https://hub.example.com.evil.example", "hub.example.com", false), ("https://hub.example.com", nil, false),
            ("https://hub.example.com", "", false), ("file://hub.example.com", "hub.example.com", false),
            ("https://hub.example.com/", "hub.example.com/", false),
        ] as [(String?, String?, Bool)])
    func trustsOnlyListedAndOwnOrigins(_ origin: String?, _ host: String?, _ permitted: Bool) throws {
        let policy = try CORSPolicy(origins: ["https://a"])
        #expect(policy.isListedOrOwn(origin: origin, host: host, isSecure: false) == permitted)
    }

    @Test func pageOfUnencryptedOwnHostIsForeignToHTTPS() throws {
        let policy = try CORSPolicy(origins: ["http://listed"])
        for (origin, permitted) in [
            ("http://hub.example.com", false), ("https://hub.example.com", true), ("http://listed", true),
        ] {
            #expect(policy.isListedOrOwn(origin: origin, host: "hub.example.com", isSecure: true) == permitted, "\(origin)")
        }
    }
}
