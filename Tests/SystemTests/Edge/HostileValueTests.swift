import FlowCore
import FlowTestKit
import Testing

/// Values that a store cannot hold, in every place of a request that may reach one: refused as the client's mistake, by each store
/// alike, and no text of a store or a database in any response.
@Suite(.serialized, .postgres(), .redis()) struct HostileValueTests {
    enum Store: String, CaseIterable, Sendable {
        case embedded, postgresWithRedis, postgres

        static let tested = TestScale.pick([Self.embedded, .postgresWithRedis], full: Self.allCases)
    }

    /// All values in a full run, else the first ones.
    private static func some<Value>(_ values: [Value], _ count: Int) -> ArraySlice<Value> {
        values.prefix(TestScale.pick(count, full: values.count))
    }

    /// Values as they appear in a request target, and whether no store can hold them as text.
    static let values: [(text: String, isHostile: Bool)] = [
        ("%00", true), ("a%01b", true), ("%7f", true), ("%ED%A0%80", true), ("%C0%80", true), ("%ff", true),
        ("9223372036854775807", false), ("9223372036854775808", false), (String(repeating: "a", count: 10_240), false),
        ("a%00b", true), ("%1f", true), ("%0d%0a", true), ("%F4%90%80%80", true), ("%", false), ("%zz", false), ("%C2%85", false),
        ("%F0%9F%98%80", false), ("'", false), ("%5C", false), ("-1", false), ("1e400", false),
        (String(repeating: "a", count: 7_000), false),
    ]

    /// Requests without a body. `VALUE` is the place of the value.
    static let targets = [
        "GET /v1/flows?status=VALUE", "GET /v1/flows?after=VALUE", "GET /v1/flows?limit=VALUE", "GET /v1/flows?VALUE=1",
        "GET /v1/flows/VALUE/state", "PUT /v1/flows/VALUE/state", "DELETE /v1/flows/VALUE/state", "GET /v1/flows/VALUE/history",
        "GET /v1/flows/h/history?after=VALUE", "GET /v1/flows/h/history?limit=VALUE", "GET /v1/flows/VALUE/connections",
        "POST /v1/flows/VALUE/events", "DELETE /v1/connections/VALUE", "DELETE /v1/connections/VALUE.1",
        "DELETE /v1/connections/i.VALUE", "POST /v1/locks/VALUE", "PUT /v1/locks/h?lock_id=VALUE",
        "DELETE /v1/locks/h?lock_id=VALUE",
        "DELETE /v1/locks/VALUE?lock_id=x", "GET /v1/patterns/VALUE", "PUT /v1/patterns/VALUE", "DELETE /v1/patterns/VALUE",
        "GET /v1/imports?flow_id=VALUE", "GET /v1/imports?status=VALUE", "GET /v1/imports?after=VALUE",
        "GET /v1/imports?limit=VALUE",
        "GET /v1/imports/VALUE", "GET /v1/imports/VALUE/data", "DELETE /v1/imports/VALUE",
        "GET /v1/imports/IMPORT/records?offset=VALUE", "GET /v1/imports/IMPORT/records?limit=VALUE",
        "POST /v1/imports?file_name=VALUE", "POST /v1/imports?source_type=VALUE", "POST /v1/imports?flow_id=VALUE",
        "POST /v1/imports?format=VALUE",
    ]
    /// Requests for streams, by HEAD, which answers like GET. An unreadable cursor is no error.
    static let streams = [
        "HEAD /v1/flows/VALUE/events", "HEAD /v1/flows/h/events?last_event_id=VALUE", "HEAD /v1/flows/h/events?types=VALUE",
        "HEAD /v1/events?flow=VALUE", "HEAD /v1/flows/h/events?snapshot=VALUE", "HEAD /v1/feed?flow=VALUE&status=VALUE",
    ]

    /// JSON values that are valid, or that the hub rejects as JSON.
    static let documents = [
        #""a\u0000b""#, "\"\u{7f}\"", #""\ud800""#, "9223372036854775808", "1e308", #"{"\u0000":"\u0000"}"#,
        "\"" + String(repeating: "a", count: 10_240) + "\"", #""\u0000""#, #""\u0001""#, #""\u007f""#, "\"\u{1}\"", "\"\0\"",
        #""é\u0301""#, "9223372036854775807", "1e400", "-1", "null", "[]", "{}",
        "\"" + String(repeating: #"\u0000"#, count: 500) + "\"",
    ]
    /// Requests with a body.
    static let bodies: [(request: String, body: String)] = [
        ("PUT /v1/flows/h/state", #"{"status":VALUE}"#), ("PATCH /v1/flows/h/state", #"{"status":VALUE,"a":VALUE}"#),
        ("PUT /v1/flows/h/state", #"{"a":VALUE}"#), ("POST /v1/flows/h/events", #"{"type":VALUE}"#),
        ("POST /v1/flows/h/events", #"{"type":"a","data":VALUE}"#),
        ("POST /v1/flows/h/events", #"{"type":"a","data":VALUE,"durable":false}"#),
        ("POST /v1/flows/h/events", #"{"type":"a","durable":VALUE}"#), ("POST /v1/flows/h/events", #"{VALUE:1}"#),
        ("POST /v1/revocations", #"{"subject":VALUE}"#), ("POST /v1/revocations", #"{"subject":"s","not_before":VALUE}"#),
        ("POST /v1/locks/fresh", #"{"ttl":VALUE}"#), ("PUT /v1/locks/h", #"{"lock_id":VALUE}"#),
        ("DELETE /v1/locks/h", #"{"lock_id":VALUE}"#),
        ("PUT /v1/patterns/h", #"{"pattern":VALUE,"confidence":1}"#),
        ("PUT /v1/patterns/h", #"{"pattern":1,"confidence":VALUE}"#),
        ("POST /v1/imports?format=json", #"[{"a":VALUE}]"#), ("POST /v1/imports?format=ndjson", #"{"a":1,"b":VALUE}"#),
        ("POST /v1/imports?format=json", #"[{"a\u0000b":1,"\ud83d\ude00":VALUE}]"#),
        ("POST /v1/imports?format=csv", "a,VALUE\n1,VALUE\n"),
    ]

    /// Values of header fields, as raw text.
    static let fields = [
        "a\0b", "\u{1}", "\u{7f}", "é", "r=9223372036854775808", "\0", "\u{80}", "\u{FFFD}", "\"\0\"", "r=\u{1}", "\0=1",
        "\"a.b-9223372036854775808\"", "\"\u{7f}\"", "W/\"\0\"", String(repeating: "a", count: 10_240),
    ]
    static let names = [
        "If-Match", "If-None-Match", "Idempotency-Key", "Fencing-Token", "Content-Type", "Content-Encoding", "Accept", "Origin",
        "X-Request-ID", "Cookie", "Authorization",
    ]

    private static func running(_ store: Store, _ body: @Sendable (HubProcess) async throws -> Void) async throws {
        let environment = ["FLOWHUB_MAX_IMPORTS": "4"]
        switch store {
        case .embedded: try await HubProcess.running(environment) { hub in try await body(hub) }
        case .postgres:
            try await PostgresHubs.running(1, on: try SharedPostgres.server, environment) { hubs in try await body(hubs[0]) }
        case .postgresWithRedis:
            try await SharedRedis.flush()
            try await RedisHubs.running([try SharedRedis.server.url], on: try SharedPostgres.server, environment) { hubs in
                try await body(hubs[0])
            }
        }
    }

    /// A response that a stranger may get, with no text of a store.
    private static func expectHarmless(_ reply: HTTPReply, _ what: String) {
        #expect(reply.status < 500, "\(what): \(reply.status) \(reply.text.prefix(300))")
        let text = reply.text.lowercased()
        for word in ["sqlstate", "sqlite", "postgres", "redis", "invalid byte", "encoding", "syntax error"]
        where reply.header("content-type") == "application/problem+json" {
            if word == "encoding", reply.problemCode == "unsupported_content_encoding" { continue }
            #expect(!text.contains(word), "\(what): \(reply.text.prefix(300))")
        }
    }

    @Test func everyHostileValueIsTheClientsMistake() async {
        await concurrently(Store.tested, self.everyHostileValueIsTheClientsMistake(_:))
    }

    private func everyHostileValueIsTheClientsMistake(_ store: Store) async throws {
        try await Self.running(store) { hub in
            #expect(try await hub.api.put("h", .emptyObject).status == 201)
            #expect(try await hub.call("POST", "/v1/locks/h").status == 201)
            let caller = HTTPCaller(port: hub.port)
            let stored = try await hub.call("POST", "/v1/imports", body: #"[{"a":1}]"#)
            let id = try #require(stored.json.member("id")?.stringValue)

            for target in Self.targets + Self.streams {
                let (method, path) = Self.split(target.replacing("IMPORT", with: id))
                for value in Self.some(Self.values, 9) {
                    let body = ["PUT", "POST"].contains(method) ? #"{"type":"a"}"# : nil
                    let call = HTTPCall(
                        method, path.replacing("VALUE", with: value.text), body: body.map { Array($0.utf8) })
                    let reply = try await caller.perform(call)
                    Self.expectHarmless(reply, "\(target) \(value.text.prefix(30))")
                    if value.isHostile, !target.hasPrefix("HEAD") {
                        #expect(reply.status == 400, "\(target) \(value.text): \(reply.status) \(reply.text)")
                    }
                    if value.isHostile, !target.hasPrefix("HEAD"), path.contains("=VALUE") || path.contains("?VALUE") {
                        #expect(reply.problemCode == "bad_parameter", "\(target) \(value.text): \(reply.text)")
                    }
                }
            }
            for (request, body) in Self.bodies {
                let (method, path) = Self.split(request)
                for document in Self.some(Self.documents, 7) {
                    let type = path.contains("format") ? "application/octet-stream" : "application/json"
                    let call = HTTPCall(
                        method, path, headers: [("Content-Type", type)], body: Array(body.replacing("VALUE", with: document).utf8)
                    )
                    let reply = try await caller.perform(call)
                    Self.expectHarmless(reply, "\(request) \(body) \(document.prefix(30).debugDescription)")
                }
            }
            for name in Self.names {
                for value in Self.some(Self.fields, 5) {
                    let targets: [(String, String, String?)] = [
                        ("PATCH", "/v1/flows/h/state", "{}"), ("GET", "/v1/flows/h/state", nil),
                        ("POST", "/v1/flows/h/events", #"{"type":"a"}"#), ("POST", "/v1/imports", #"[{"a":1}]"#),
                    ]
                    for (method, target, body) in Self.some(targets, 2) {
                        let reply = try await hub.call(method, target, headers: [(name, value)], body: body)
                        Self.expectHarmless(reply, "\(method) \(target) \(name): \(value.prefix(30).debugDescription)")
                    }
                }
            }
            // Whatever was accepted can be read again.
            for target in ["/v1/flows", "/v1/flows/h/state", "/v1/flows/h/history?limit=1000", "/v1/imports", "/v1/patterns/h"] {
                #expect(try await hub.call("GET", target).status == 200, "\(target)")
            }
            let log = hub.log
            #expect(!log.contains("SQLSTATE 22"), "\(log.suffix(2_000))")
        }
    }

    private static func split(_ request: String) -> (method: String, path: String) {
        let parts = request.split(separator: " ", maxSplits: 1).map { String($0) }
        return (parts[0], parts[1])
    }

    /// A store that fails says so to the operator only.
    @Test func causeOfFailureIsLoggedAndNotSent() async throws {
        let server = try SharedPostgres.server
        let database = try await server.createDatabase()
        try await PostgresHubs.start(1, server.url(database), [:]) { hubs in
            #expect(try await hubs[0].api.put("f", .emptyObject).status == 201)
            try await server.query(
                "ALTER TABLE flows RENAME TO renamed; ALTER TABLE hub_locks RENAME TO renamed_locks", in: database)
            for (method, target, body, code) in [
                ("GET", "/v1/flows/other/state", nil, "store_unavailable"),
                ("PUT", "/v1/flows/f/state", "{}", "store_unavailable"),
                ("GET", "/v1/flows", nil, "store_unavailable"), ("POST", "/v1/locks/r", nil, "locks_unavailable"),
            ] as [(String, String, String?, String)] {
                let reply = try await hubs[0].call(method, target, body: body)
                #expect(reply.status == 503 && reply.problemCode == code, "\(reply.text)")
                for word in ["SQLSTATE", "tables", "migrate", "database"] {
                    #expect(!reply.text.contains(word), "\(target): \(reply.text)")
                }
            }
            try await eventually("the cause in the log") {
                hubs[0].log.contains("Requests failed because of a store or a service")
                    && hubs[0].log.contains("tables or columns of the hub are missing")
            }
            try await server.query(
                "ALTER TABLE renamed RENAME TO flows; ALTER TABLE renamed_locks RENAME TO hub_locks", in: database)
        }
    }
}
