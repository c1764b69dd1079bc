import FlowCore
import FlowTestKit
import Testing

/// The access log: who did what, on what, with which result.
struct AccessLogTests {
    private static let scopes = ["locks", "patterns", "imports", "admin"]

    /// Calls with a token and a body, if there is one.
    private static func call(
        _ hub: HubProcess, _ method: String, _ target: String, _ body: String? = nil, _ token: TestToken?,
        _ headers: [(name: String, value: String)] = []
    ) async throws -> HTTPReply {
        try await hub.call(method, target, headers: (token.map { [$0.header] } ?? []) + headers, body: body)
    }

    @Test func changesAreLoggedWithSubjectObjectAndVersion() async throws {
        try await HubProcess.running(["FLOWHUB_JWT_KEY": TestToken.key, "FLOWHUB_ACCESS_LOG": "changes"]) { hub in
            let anna = TestToken(publish: ["f*"], scopes: Self.scopes)
            func call(_ method: String, _ target: String, _ body: String? = nil, _ key: String? = nil) async throws -> HTTPReply {
                try await Self.call(hub, method, target, body, anna, key.map { [("Idempotency-Key", $0)] } ?? [])
            }
            #expect(try await call("PUT", "/v1/flows/f/state", "{}", "k").status == 201)
            #expect(try await call("PUT", "/v1/flows/f/state", "{}", "k").status == 201)
            #expect(try await call("PATCH", "/v1/flows/f/state", #"{"a":1}"#).status == 200)
            #expect(try await call("POST", "/v1/flows/f/events", #"[{"type":"a"},{"type":"b"}]"#).status == 201)
            #expect(try await call("POST", "/v1/flows/f/events", #"{"type":"a","durable":false}"#).status == 202)
            #expect(try await call("GET", "/v1/flows/f/state").status == 200)
            #expect(try await call("DELETE", "/v1/flows/f/state").status == 200)
            #expect(try await call("PUT", "/v1/flows/other/state", "{}").status == 403)
            #expect(try await call("PUT", "/v1/flows/f/state", "[").status == 400)
            let lock = try await call("POST", "/v1/locks/nightly")
            let lockID = try #require(lock.json.member("lock_id")?.stringValue)
            #expect(try await call("DELETE", "/v1/locks/nightly?lock_id=\(lockID)").status == 204)
            #expect(try await call("PUT", "/v1/patterns/p", #"{"pattern":1,"confidence":1}"#).status == 201)
            let stored = try await call("POST", "/v1/imports?file_name=secret.csv", "a\n1\n")
            let importID = try #require(stored.json.member("id")?.stringValue)
            #expect(try await call("DELETE", "/v1/imports/\(importID)").status == 204)
            #expect(try await call("POST", "/v1/revocations", #"{"subject":"eve"}"#).status == 201)
            #expect(try await Self.call(hub, "PUT", "/v1/flows/f/state", "{}", nil).status == 401)
            #expect(try await Self.call(hub, "DELETE", "/v1/flows/f/state", nil, TestToken(subject: "eve")).status == 401)
            #expect(try await call("POST", "/v1/nothing", "{}").status == 404)

            let lines = try await hub.accessLog("Request", count: 17)
            let seen = lines.map { $0.summary("flow", "version", "subject") }
            #expect(
                seen == [
                    "PUT /v1/flows/{flow}/state 201 f 1 anna", "PUT /v1/flows/{flow}/state 201 f 1 anna",
                    "PATCH /v1/flows/{flow}/state 200 f 2 anna", "POST /v1/flows/{flow}/events 201 f 4 anna",
                    "POST /v1/flows/{flow}/events 202 f - anna", "DELETE /v1/flows/{flow}/state 200 f 5 anna",
                    "PUT /v1/flows/{flow}/state 403 other - anna", "PUT /v1/flows/{flow}/state 400 f - anna",
                    "POST /v1/locks/{resource} 201 - - anna", "DELETE /v1/locks/{resource} 204 - - anna",
                    "PUT /v1/patterns/{key} 201 - - anna", "POST /v1/imports 201 - - anna",
                    "DELETE /v1/imports/{import} 204 - - anna", "POST /v1/revocations 201 - - anna",
                    "PUT /v1/flows/{flow}/state 401 f - -", "DELETE /v1/flows/{flow}/state 401 f - -",
                    "POST NotFound 404 - - anna",
                ])
            #expect(lines.map { $0["replayed"] == "true" } == lines.indices.map { $0 == 1 })
            #expect(lines.compactMap { $0["code"] } == ["forbidden", "bad_json", "token_missing", "token_revoked", "not_found"])
            #expect(lines[8]["resource"] == "nightly" && lines[10]["key"] == "p" && lines[13]["revoked"] == "eve")
            #expect(lines[11]["import"] == importID && lines[12]["import"] == importID)
            for line in lines {
                #expect(line["remote"] == "127.0.0.1" && line["request"]?.count == 13 && line["instance"] != nil, "\(line)")
                #expect((line["subject"] == nil) == (line["account"] == nil) && (line["account"] ?? "7") == "7")
                #expect(try #require(line["milliseconds"].flatMap { Double($0) }) > 0)
                #expect(line["received"].flatMap { Int($0) } != nil && line["sent"].flatMap { Int($0) } != nil)
            }
            #expect(lines[2]["received"] == "7" && lines[11]["received"] == "4" && lines[12]["sent"] == "0")
            #expect(lines[11]["sent"] == "\(stored.body.count)")
            for secret in ["secret", lockID, "eve\"}", "Bearer"] { #expect(!hub.log.contains(secret), "\(secret)") }
        }
    }

    @Test func allRequestsAreLoggedExceptHealthChecks() async throws {
        // Records have the level info: the level of the log does not concern them.
        try await HubProcess.running(["FLOWHUB_ACCESS_LOG": "all", "FLOWHUB_LOG_LEVEL": "notice"]) { hub in
            for path in ["/health/live", "/health/ready", "/metrics"] { #expect(try await hub.call("GET", path).status == 200) }
            _ = try await hub.api.put("f", .emptyObject)
            for target in [
                "/v1/flows", "/v1/flows/f/state", "/v1/flows/f/history?after=0", "/v1/flows/f/connections", "/v1/imports",
                "/v1/patterns/p", "/page.js", "/nothing", "/health/nothing",
            ] {
                _ = try await hub.call("GET", target)
            }
            _ = try await hub.call("HEAD", "/v1/flows/f/state")
            _ = try await hub.answer(to: Array("GET /v1/flows HTTP/1.1\r\n\r\n".utf8))
            let large = "PUT /v1/flows/f/state HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999999\r\n\r\n"
            _ = try await hub.answer(to: Array(large.utf8))
            let lines = try await hub.accessLog("Request", count: 13)
            #expect(
                lines.map { $0.summary() } == [
                    "PUT /v1/flows/{flow}/state 201", "GET /v1/flows 200", "GET /v1/flows/{flow}/state 200",
                    "GET /v1/flows/{flow}/history 200", "GET /v1/flows/{flow}/connections 200", "GET /v1/imports 200",
                    "GET /v1/patterns/{key} 404", "GET /page.js 200", "GET NotFound 404", "GET NotFound 404",
                    "HEAD /v1/flows/{flow}/state 200", "- none 400", "PUT /v1/flows/{flow}/state 413",
                ])
            #expect(lines.last?["code"] == "body_too_large" && lines.last?["flow"] == "f")
            // The names of routes are those of the metrics.
            let metrics = try await hub.call("GET", "/metrics").text
            for route in lines.dropLast(2).compactMap({ $0["route"] }) {
                #expect(metrics.contains("route=\"\(route)\","), "\(route)")
            }
        }
    }

    @Test func streamsAreLoggedAtAdmissionAndEnd() async throws {
        let environment = [
            "FLOWHUB_JWT_KEY": TestToken.key, "FLOWHUB_ACCESS_LOG": "all", "FLOWHUB_LINGER_MS": "0",
            "FLOWHUB_HEARTBEAT_SECONDS": "300",
        ]
        try await HubProcess.running(environment) { hub in
            let anna = TestToken(scopes: ["admin"])
            let api = hub.api.with(header: "Authorization", anna.header.value)
            _ = try await api.put("f", .emptyObject)
            func open(_ target: String) async throws -> RawExchange {
                let exchange = try await RawExchange.open(port: hub.port)
                let field = "\(anna.header.name): \(anna.header.value)"
                try await exchange.send("GET \(target) HTTP/1.1\r\nHost: localhost\r\n\(field)\r\n\r\n")
                return exchange
            }
            func request(_ exchange: RawExchange) throws -> String {
                let head = try #require(exchange.receivedText.split(separator: "\r\n\r\n").first)
                let line = try #require(head.split(separator: "\r\n").first { $0.hasPrefix("X-Request-ID: ") })
                return String(line.dropFirst("X-Request-ID: ".count))
            }
            let first = try await open("/v1/flows/f/events")
            try await eventually("the snapshot") { first.receivedText.contains("event: caught_up") }
            let admitted = try await hub.accessLogLine(of: try request(first), "Stream admitted")
            #expect(admitted["subject"] == "anna" && admitted["account"] == "7" && admitted["flow"] == "f")
            #expect(admitted["route"] == "/v1/flows/{flow}/events" && admitted["remote"] == "127.0.0.1")
            #expect(hub.accessLog("Stream ended").isEmpty)
            #expect(!hub.accessLog("Request").contains { $0["route"] == admitted["route"] })
            let several = try await open("/v1/events?flow=f&flow=g")
            try await eventually("the snapshots") { several.receivedText.ranges(of: "event: caught_up").count == 2 }
            for number in 1...3 { _ = try await api.publish("row", try jsonText("\(number)"), to: "f") }
            _ = try await api.delete("f")
            let body = try await first.replies(1)[0].text
            let ended = try await hub.accessLogLine(of: try request(first), "Stream ended")
            #expect(ended["reason"] == "deleted" && ended["connection"] == admitted["connection"])
            #expect(ended["sent"] == "\(body.utf8.count)")
            let events = body.split(separator: "\n").count { $0.hasPrefix("event: ") }
            // Heartbeats may be among them.
            #expect(ended["events"] == "\(events)" && events >= 7, "\(body)")
            several.close()
            let left = try await hub.accessLogLine(of: try request(several), "Stream ended")
            #expect(left["reason"] == "disconnected" && left["flows"] == "f,g", "\(left)")

            // What does not become a stream, or ends at once.
            let over = try await open("/v1/flows/f/events?last_event_id=0")
            let replayed = try await over.replies(1)[0].text
            let cursor = try #require(replayed.split(separator: "\n").last { $0.hasPrefix("id: ") }).dropFirst(4)
            let none = try await api.call("GET", "/v1/flows/f/events?last_event_id=\(cursor)")
            #expect(none.status == 204)
            let noContent = try await hub.accessLogLine(of: try #require(none.header("x-request-id")), "Stream ended")
            #expect(noContent["reason"] == "no_content" && noContent["events"] == "0")
            let bad = try await api.call("GET", "/v1/events")
            let rejected = try await hub.accessLogLine(of: try #require(bad.header("x-request-id")))
            #expect(rejected.summary("code") == "GET /v1/events 400 flow_missing")
            #expect(hub.accessLog("Stream admitted").count == hub.accessLog("Stream ended").count)
        }
    }

    @Test func nothingIsLoggedByDefault() async throws {
        try await HubProcess.running { hub in
            _ = try await hub.api.put("f", .emptyObject)
            let stream = EventStreamClient(.flow("f"), port: hub.port)
            try await stream.connect()
            _ = try await stream.next(event: "caught_up")
            stream.disconnect()
            try await eventually("the end of the stream") { try await hub.api.metric("flowhub_connections") == 0 }
            #expect(try await hub.terminate() == .code(0))
            #expect(hub.log.contains("Hub stopped") && !hub.log.contains("request="), "\(hub.log)")
        }
    }

    @Test func tokensQueriesAndBodiesAreNeverLogged() async throws {
        let environment = [
            "FLOWHUB_JWT_KEY": TestToken.key, "FLOWHUB_ACCESS_LOG": "all", "FLOWHUB_LOG_LEVEL": "trace",
            "FLOWHUB_TRUSTED_PROXIES": "127.0.0.1",
        ]
        try await HubProcess.running(environment) { hub in
            let token = TestToken(scopes: Self.scopes).text
            let signature = token.split(separator: ".")[2]
            let ways: [(query: String, headers: [(name: String, value: String)])] = [
                ("?access_token=\(token)", []), ("", [("Authorization", "Bearer \(token)")]),
                ("?a=hidden-query", [("Cookie", "flowhub_token=\(token)")]),
            ]
            for (query, headers) in ways {
                for path in ["/v1/flows", "/v1/flows/f/state", "/v1/nothing", "/\(token)", "/v1/flows/\(token)/state"] {
                    // The proxy passes an id that is a token: it is too long for an id.
                    let all = headers + [("X-Request-ID", token), ("Origin", "http://127.0.0.1:\(hub.port)")]
                    _ = try await hub.call("GET", path + query, headers: all)
                    _ = try await hub.call("PUT", path + query, headers: all, body: #"{"a":"hidden-body"}"#)
                }
                let stream = try await RawExchange.open(port: hub.port)
                let lines = headers.map { "\($0.name): \($0.value)\r\n" }.joined()
                try await stream.send("GET /v1/flows/f/events\(query) HTTP/1.1\r\nHost: localhost\r\n\(lines)\r\n")
                try await eventually("the stream") { stream.receivedText.contains("event: caught_up") }
                stream.close()
            }
            _ = try await hub.answer(to: Array("GET /?access_token=\(token) HTTP/1.1\r\nHost: a\r\nX\0: \(token)\r\n\r\n".utf8))
            #expect(try await hub.call("POST", "/v1/locks/r", headers: ways[1].headers).status == 201)
            _ = try await hub.accessLog("Stream ended", count: 3)
            _ = try await hub.accessLog("Request", count: 32)
            for hidden in [token, String(signature), "hidden-query", "hidden-body", "access_token", "flowhub_token"] {
                #expect(!hub.log.contains(hidden), "\(hidden)")
            }
        }
    }

    @Test func recordsAreJSONWithNumbers() async throws {
        let folder = try TemporaryFolder()
        defer { folder.remove() }
        let port = try FreePort.choose()
        let environment = [
            "FLOWHUB_LOG_FORMAT": "json", "FLOWHUB_ACCESS_LOG": "changes", "FLOWHUB_DATA": folder.path + "/data",
            "PORT": "\(port)", "FLOWHUB_DRAIN_SECONDS": "0",
        ]
        let hub = try ChildProcess(HubBinary.path(), ["serve"], environment: environment, folder: folder.path)
        do {
            try await eventually("the hub to listen") { hub.errorOutput.contains(#""message":"Listening""#) }
            let reply = try await HubAPI(port: port).put("f", .emptyObject).reply
            try await eventually("the record") { hub.errorOutput.contains(#""message":"Request""#) }
            hub.send(15)
            #expect(try await hub.waitForExit() == .code(0))
            let lines = try hub.errorOutput.split(separator: "\n").map { try jsonText(String($0)) }
            let line = try #require(lines.first { $0.member("message")?.stringValue == "Request" })
            #expect(line.member("status")?.intValue == 201 && line.member("version")?.intValue == 1)
            #expect(line.member("received")?.intValue == 2 && line.member("sent")?.intValue == Int64(reply.body.count))
            #expect(line.member("request")?.stringValue == reply.header("x-request-id"))
            #expect(line.member("account")?.stringValue == "0" && line.member("subject") == nil)
        } catch {
            await hub.destroy()
            throw error
        }
    }
}
