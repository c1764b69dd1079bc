import FlowCore
import FlowTestKit
import Foundation
import Testing

/// Why a request was rejected: one line of the log for the operator, and `flowhub token check` for whoever holds the keys.
struct RejectionTests {
    private static let environment = [
        "FLOWHUB_JWT_KEY": TestToken.key, "FLOWHUB_LOG_LEVEL": "debug", "FLOWHUB_CORS_ORIGINS": "https://app.example",
    ]

    /// A token whose times are those of JavaScript's `Date.now()`.
    private static func inMilliseconds() throws -> String {
        let now = Int(Date().timeIntervalSince1970)
        let claims = #"{"sub":"anna","client_account_id":"7","iat":\#(now),"exp":\#(now + 600)000}"#
        return TestToken.signed(claims)
    }

    @Test func rejectionIsOneLineWithClaimAndReason() async throws {
        try await HubProcess.running(Self.environment) { hub in
            let token = TestToken(subscribe: ["mine"], publish: ["mine"])
            let expired = TestToken(issuedIn: -1_000, expiresIn: -100)
            var forged = TestToken()
            forged.secret = "another key of the tests, of 32 bytes or more"
            let milliseconds = try Self.inMilliseconds()
            let cases: [(String, String, [(name: String, value: String)], String?, [String: String])] = [
                (
                    "GET", "/v1/flows", [("Authorization", "Bearer \(expired.text)")], nil,
                    ["code": "token_expired", "claim": "exp"]
                ),
                (
                    "GET", "/v1/flows", [("Authorization", "Bearer \(milliseconds)")], nil,
                    ["code": "token_invalid", "claim": "exp"]
                ),
                ("PUT", "/v1/flows/mine/state", [forged.header], "{}", ["code": "token_invalid"]),
                ("HEAD", "/v1/flows/mine/events", [forged.header], nil, ["code": "token_invalid"]),
                (
                    "HEAD", "/v1/flows/other/events", [token.header], nil,
                    ["code": "forbidden", "claim": "flows.subscribe", "seen": "other"]
                ),
                (
                    "PUT", "/v1/flows/other/state", [token.header], "{}",
                    ["code": "forbidden", "claim": "flows.publish", "seen": "other"]
                ),
                ("POST", "/v1/locks/r", [token.header], nil, ["code": "forbidden", "claim": "scopes"]),
                ("GET", "/v1/flows/a%20b/state", [token.header], nil, ["code": "bad_flow_id"]),
                (
                    "PUT", "/v1/flows/mine/state",
                    [("Cookie", "flowhub_token=\(token.text)"), ("Origin", "https://evil.example")], "{}",
                    ["code": "origin_forbidden", "claim": "Origin", "seen": "https://evil.example"]
                ),
            ]
            for (method, target, headers, body, expected) in cases {
                let reply = try await hub.call(method, target, headers: headers, body: body)
                let line = try await hub.accessLogLine(of: try #require(reply.header("x-request-id")), "Request rejected")
                for (key, value) in expected { #expect(line[key] == value, "\(method) \(target): \(line.values)") }
                #expect(line["reason"] != nil && line["remote"] == "127.0.0.1")
            }
            #expect(hub.log.contains("in milliseconds, not in seconds"))
            // Preflights and reads of pages that may not read the response.
            let preflight = [(name: "Origin", value: "https://other.example"), ("Access-Control-Request-Method", "PATCH")]
            let reply = try await hub.call("OPTIONS", "/v1/flows/f/state", headers: preflight)
            let line = try await hub.accessLogLine(
                of: try #require(reply.header("x-request-id")), "Response is hidden from a page")
            #expect(line["seen"] == "https://other.example", "\(line.values)")

            let secrets = [token.text, expired.text, forged.text, milliseconds].flatMap { $0.split(separator: ".").dropFirst() }
            for secret in secrets { #expect(!hub.log.contains(secret), "the log has a part of a token") }
            // The client is not told which check failed.
            let refused = try await hub.call("GET", "/v1/flows", headers: [("Authorization", "Bearer \(milliseconds)")])
            #expect(refused.status == 401 && !refused.text.contains("milliseconds") && refused.text.contains("token check"))
        }
    }

    @Test func keylessHubLogsHostAndOrigin() async throws {
        try await HubProcess.running(["FLOWHUB_LOG_LEVEL": "debug"]) { hub in
            let host = try await hub.answer(to: Array("GET /v1/flows HTTP/1.1\r\nHost: evil.example\r\n\r\n".utf8))
            let line = try await hub.accessLogLine(of: try #require(host.header("x-request-id")), "Request rejected")
            #expect(line["claim"] == "Host" && line["seen"] == "evil.example" && line["code"] == "misdirected_request")
            let origin = try await hub.call("GET", "/v1/flows", headers: [("Origin", "null")])
            let second = try await hub.accessLogLine(of: try #require(origin.header("x-request-id")), "Request rejected")
            #expect(second["claim"] == "Origin" && second["seen"] == "null" && second["code"] == "origin_forbidden")
        }
    }

    // MARK: flowhub token check

    @Test func tokenCheckSaysWhatTheHubSays() async throws {
        try await HubProcess.running(Self.environment) { hub in
            let good = TestToken(subscribe: ["import-*"], publish: [], scopes: ["admin", "locks"])
            let accepted = try await hub.command(["token", "check", good.text])
            #expect(accepted.exit == .code(0), "\(accepted)")
            for text in [
                "The hub accepts the token.", "anna", "import-*", "admin, locks", "publish    none",
                "with 60 s for clocks that differ",
            ] {
                #expect(accepted.output.contains(text), "\(text): \(accepted.output)")
            }
            let rejected = try await hub.command(["token", "check", "Bearer \(try Self.inMilliseconds())"])
            #expect(rejected.exit == .code(1) && rejected.output.contains("rejects the token: token_invalid"), "\(rejected)")
            #expect(rejected.output.contains("Divide it by 1000") && rejected.output.contains("claim      exp"))

            let json = try await hub.command(["token", "check", TestToken(expiresIn: -100).text, "--json"])
            let document = try JSONText(validating: Array(json.output.utf8))
            #expect(json.exit == .code(1) && document.member("code")?.stringValue == "token_expired")
            #expect(document.member("claims")?.member("sub")?.stringValue == "anna")
            #expect(document.member("accepted")?.boolValue == false)

            // Other settings of the hub count too.
            let audience = try await hub.command(["token", "check", good.text], adding: ["FLOWHUB_JWT_AUDIENCE": "hub"])
            #expect(audience.exit == .code(1) && audience.output.contains("Issue tokens with aud"), "\(audience)")
            for (arguments, environment) in [
                (["token", "check", good.text], ["FLOWHUB_JWT_KEY": "short"]), (["token", "check", " "], [:]),
                (["token", "check", good.text], ["FLOWHUB_JWT_LEEWAY": "x"]), (["token", "check", "a", "b"], [:]),
            ] {
                #expect(try await hub.command(arguments, adding: environment).exit == .code(2), "\(arguments)")
            }
        }
        try await HubProcess.running { hub in
            let result = try await hub.command(["token", "check", "x"])
            #expect(result.exit == .code(2) && result.errors.contains("No key is set"), "\(result)")
        }
    }

    /// A token that is an argument lands in the history of the shell, and is visible to other users while the command runs.
    @Test func tokenIsReadFromStandardInput() async throws {
        let folder = try TemporaryFolder()
        defer { folder.remove() }
        let script = #""$0" token --subject me --subscribe 'f-*' --ttl 5m | "$0" token check -"#
        let process = try ChildProcess(
            "/bin/sh", ["-c", script, try HubBinary.path()], environment: ["FLOWHUB_JWT_KEY": TestToken.key], folder: folder.path)
        #expect(try await process.waitForExit() == .code(0), "\(process.errorOutput)")
        #expect(process.output.contains("f-*") && process.output.contains("accepts"), "\(process.output)")
        let help = try ChildProcess(try HubBinary.path(), ["token", "--help"], environment: [:], folder: folder.path)
        #expect(try await help.waitForExit() == .code(0) && help.output.contains("check") && help.output.contains("create"))
    }

    // MARK: Origins behind a proxy with TLS

    /// With TLS at the proxy, a page of `http` under the hub's name is another origin: for sessions, as for every other request.
    @Test(arguments: [false, true]) func sessionBelongsToPagesWithTLS(_ usesProxyProtocol: Bool) async throws {
        var environment = ["FLOWHUB_JWT_KEY": TestToken.key, "FLOWHUB_TRUSTED_PROXIES": "127.0.0.1"]
        if usesProxyProtocol { environment["FLOWHUB_FORWARDED"] = "proxy-v2" }
        let signature: [UInt8] = [0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a]
        let addresses: [UInt8] = [203, 0, 113, 9, 127, 0, 0, 1, 0x12, 0x67, 0, 80]
        let plain = usesProxyProtocol ? signature + [0x21, 0x11, 0, 12] + addresses : []
        let secure = signature + [0x21, 0x11, 0, 20] + addresses + [0x20, 0, 5, 1, 0, 0, 0, 0]
        try await HubProcess.running(environment) { hub in
            func begin(_ start: [UInt8], _ origin: String, _ more: String = "") async throws -> HTTPReply {
                try await hub.answer(
                    to: start
                        + Array(
                            ("POST /v1/session HTTP/1.1\r\nHost: hub.example\r\nOrigin: \(origin)\r\nContent-Length: 0\r\n\(more)"
                                + "Authorization: Bearer \(TestToken().text)\r\n\r\n").utf8))
            }
            let stated = "X-Forwarded-Proto: https\r\n"
            #expect(try await begin(plain, "http://hub.example").status == 200)
            #expect(try await begin(plain, "https://hub.example", stated).status == 200)
            let foreign = try await begin(plain, "http://hub.example", stated)
            #expect(foreign.status == 403 && foreign.problemCode == "origin_forbidden", "\(foreign.text)")
            guard usesProxyProtocol else { return }
            // The proxy itself says that the client used TLS.
            #expect(try await begin(secure, "http://hub.example").status == 403)
            #expect(try await begin(secure, "https://hub.example").status == 200)
        }
    }
}
