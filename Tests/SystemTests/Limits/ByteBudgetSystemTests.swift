import FlowCore
import FlowTestKit
import Testing

/// The bytes of requests and responses in memory are limited over all connections, for an account, and for a connection.
struct ByteBudgetSystemTests {
    private static func upload(_ flow: String, account: String, at hub: HubProcess) async throws -> RawExchange {
        let exchange = try await RawExchange.open(port: hub.port)
        let field = TestToken(account: account).header
        let head =
            "PUT /v1/flows/\(flow)/state HTTP/1.1\r\nHost: localhost\r\n\(field.name): \(field.value)\r\nContent-Length: 700000\r\n\r\n"
        try await exchange.send(Array(head.utf8) + Self.document.dropLast())
        return exchange
    }

    /// A state of 700,000 bytes.
    private static let document = Array("{\"a\":\"\(String(repeating: "x", count: 699_992))\"}".utf8)

    @Test func limitsRequestBodiesOfAccountAndTotal() async throws {
        let environment = [
            "FLOWHUB_JWT_KEY": TestToken.key, "FLOWHUB_MAX_BODY_BYTES": "1000000", "FLOWHUB_MAX_ACCOUNT_BODY_BYTES": "1048576",
            "FLOWHUB_MAX_TOTAL_BODY_BYTES": "1500000",
        ]
        try await HubProcess.running(environment) { hub in
            func put(_ account: String) async throws -> HTTPReply {
                try await hub.call(
                    "PUT", "/v1/flows/of-\(account)/state", headers: [TestToken(account: account).header], bytes: Self.document)
            }
            func held() async throws -> Double? { try await hub.api.metric("flowhub_request_body_bytes") }
            let first = try await Self.upload("first", account: "7", at: hub)
            defer { first.close() }
            try await eventually("the body of account 7") { try await held() == 699_999 }
            let own = try await put("7")
            #expect(own.status == 429 && own.problemCode == "account_bodies_full" && own.header("retry-after") == "1")
            #expect(own.text.contains("FLOWHUB_MAX_ACCOUNT_BODY_BYTES"))
            #expect(try await put("8").status == 201, "another account is not hurt")
            let second = try await Self.upload("second", account: "8", at: hub)
            try await eventually("the body of account 8") { try await held() == 2 * 699_999 }
            let total = try await put("9")
            #expect(total.status == 503 && total.problemCode == "bodies_full", "\(total.text)")
            #expect(try await hub.call("GET", "/v1/flows", headers: [TestToken(account: "9").header]).status == 200)
            // What is held by a client that disconnects, or whose request was answered, is free again.
            second.close()
            try await first.send(Array(Self.document.suffix(1)))
            #expect(try await first.replies(1)[0].status == 201)
            try await eventually("the release of both bodies") { try await held() == 0 }
            #expect(try await put("9").status == 201)
            for (limit, count) in [("account", 1.0), ("total", 1.0)] {
                #expect(
                    try await hub.api.metric("flowhub_over_budget_total{bytes=\"request_body\",limit=\"\(limit)\"}") == count)
            }
        }
    }

    private static func deaf(_ hub: HubProcess) async throws -> WireConnection {
        try await WireConnection.open(port: hub.port, options: .init(reads: false, isNarrow: true), received: { _ in }) { _ in }
    }

    @Test func limitsUnreadResponsesOfAccountAndTotal() async throws {
        let environment = [
            "FLOWHUB_JWT_KEY": TestToken.key, "FLOWHUB_MAX_ACCOUNT_RESPONSE_BYTES": "1048576",
            "FLOWHUB_MAX_TOTAL_RESPONSE_BYTES": "1048576",
        ]
        try await HubProcess.running(environment) { hub in
            func call(_ method: String, _ account: String) async throws -> HTTPReply {
                try await hub.call(
                    method, "/v1/flows/of-\(account)/state", headers: [TestToken(account: account).header],
                    bytes: method == "PUT" ? Self.document : nil)
            }
            for account in ["7", "8"] { #expect(try await call("PUT", account).status == 201) }
            let deaf = try await Self.deaf(hub)
            let field = TestToken(account: "7").header
            let get = "GET /v1/flows/of-7/state HTTP/1.1\r\nHost: localhost\r\n\(field.name): \(field.value)\r\n\r\n"
            try await deaf.write(get.utf8)
            try await eventually("the unread response") { try await hub.api.metric("flowhub_response_bytes") ?? 0 > 500_000 }
            let own = try await call("GET", "7")
            #expect(own.status == 429 && own.problemCode == "account_responses_full", "\(own.text.prefix(300))")
            let other = try await call("GET", "8")
            #expect(other.status == 503 && other.problemCode == "responses_full", "\(other.text.prefix(300))")
            #expect(try await hub.call("GET", "/v1/flows", headers: [field]).status == 200, "small responses are not hurt")
            deaf.close()
            try await eventually("the release") { try await hub.api.metric("flowhub_response_bytes") == 0 }
            #expect(try await call("GET", "7").body.count > 700_000)
        }
    }

    @Test func pipelinedBodiesOfSlowReadersAreNotRead() async throws {
        try await HubProcess.running { hub in
            let text = try jsonText("{\"a\":\"\(String(repeating: "x", count: 1_000_000))\"}")
            #expect(try await hub.api.put("big", text).status == 201)
            let before = try #require(hub.processMetrics).residentBytes
            let put = "PUT /v1/flows/late/state HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2000000\r\n\r\n"
            let requests =
                Array("GET /v1/flows/big/state HTTP/1.1\r\nHost: localhost\r\n\r\n".utf8)
                + (0..<8).flatMap { _ in Array(put.utf8) + [UInt8](repeating: UInt8(ascii: " "), count: 2_000_000) }
            var writers: [Task<Void, Never>] = []
            var connections: [WireConnection] = []
            for _ in 0..<8 {
                let connection = try await Self.deaf(hub)
                connections.append(connection)
                writers.append(Task { try? await connection.write(requests) })
            }
            var most = 0.0
            // Not a wait: the hub must not have read the bodies after this time.
            for _ in 0..<15 {
                try await Task.sleep(for: .milliseconds(100))
                most = max(most, try await hub.api.metric("flowhub_pipelined_bytes") ?? 0)
            }
            let grown = try #require(hub.processMetrics).residentBytes - before
            for connection in connections { connection.close() }
            for writer in writers { await writer.value }
            #expect(most > 0, "nothing was pipelined, so the test proves nothing")
            #expect(most < 8 * 2 * 65_536 + 100_000)
            #expect(grown < 50_000_000, "\(grown >> 20) MiB")
            try await eventually("the release") { try await hub.api.metric("flowhub_pipelined_bytes") == 0 }
        }
    }

    @Test func dropsPipelinedRequestsOverTotal() async throws {
        let environment = ["FLOWHUB_MAX_TOTAL_PIPELINED_BYTES": "65536", "FLOWHUB_MAX_PIPELINED_BYTES": "65536"]
        try await HubProcess.running(environment) { hub in
            let text = try jsonText("{\"a\":\"\(String(repeating: "x", count: 1_000_000))\"}")
            #expect(try await hub.api.put("big", text).status == 201)
            let get = "GET /v1/flows/big/state HTTP/1.1\r\nHost: localhost\r\n\r\n"
            var connections: [WireConnection] = []
            defer { for connection in connections { connection.close() } }
            for _ in 0..<4 {
                let connection = try await Self.deaf(hub)
                connections.append(connection)
                try await connection.write(String(repeating: get, count: 60).utf8)
            }
            try await eventually("a dropped connection") {
                try await hub.api.metric("flowhub_over_budget_total{bytes=\"pipelined\",limit=\"total\"}") ?? 0 >= 1
            }
            #expect(try #require(try await hub.api.metric("flowhub_pipelined_bytes")) < 2 * 65_536)
            // A connection that pipelines little is served.
            let exchange = try await RawExchange.open(port: hub.port)
            defer { exchange.close() }
            let live = "GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"
            try await exchange.send(live + live + live)
            #expect(try await exchange.replies(3).map(\.status) == [200, 200, 200])
        }
    }

    /// A client that was answered 429 or 503 would repeat its change.
    @Test func committedChangesAreAnsweredWhileResponsesExceedLimits() async throws {
        let environment = [
            "FLOWHUB_JWT_KEY": TestToken.key, "FLOWHUB_MAX_ACCOUNT_RESPONSE_BYTES": "1048576",
            "FLOWHUB_MAX_TOTAL_RESPONSE_BYTES": "1048576",
        ]
        try await HubProcess.running(environment) { hub in
            func call(_ method: String, _ account: String, _ body: [UInt8]?) async throws -> HTTPReply {
                try await hub.call(
                    method, "/v1/flows/of-\(account)/state", headers: [TestToken(account: account).header], bytes: body)
            }
            for account in ["7", "8"] { #expect(try await call("PUT", account, Self.document).status == 201) }
            let deaf = try await Self.deaf(hub)
            defer { deaf.close() }
            let field = TestToken(account: "7").header
            let get = "GET /v1/flows/of-7/state HTTP/1.1\r\nHost: localhost\r\n\(field.name): \(field.value)\r\n\r\n"
            try await deaf.write(get.utf8)
            try await eventually("the unread response") { try await hub.api.metric("flowhub_response_bytes") ?? 0 > 500_000 }
            for account in ["7", "8"] {
                #expect([429, 503].contains(try await call("GET", account, nil).status), "the limit is not reached")
                for (method, body, version) in [
                    ("PATCH", Array(#"{"b":1}"#.utf8), Int64(2)), ("PUT", Self.document, 3), ("PATCH", Array("{}".utf8), 3),
                ] {
                    let reply = try await call(method, account, body)
                    #expect(reply.status == 200 && reply.body.count > 700_000, "\(method): \(reply.text.prefix(300))")
                    #expect(reply.json.member("version")?.intValue == version)
                }
            }
        }
    }

    @Test func endedStreamsDoNotCountAsResponses() async throws {
        let environment = ["FLOWHUB_MAX_TOTAL_RESPONSE_BYTES": "1048576", "FLOWHUB_ANSWER_TIMEOUT_SECONDS": "2"]
        try await HubProcess.running(environment) { hub in
            #expect(try await hub.call("PUT", "/v1/flows/f/state", bytes: Self.document).status == 201)
            let isClosed = AsyncValue(false)
            let deaf = try await WireConnection.open(
                port: hub.port, options: .init(reads: false, isNarrow: true), received: { _ in }
            ) { _ in isClosed.change { $0 = true } }
            defer { deaf.close() }
            try await deaf.write("GET /v1/flows/f/events HTTP/1.1\r\nHost: localhost\r\n\r\n".utf8)
            try await eventually("the unread snapshot") { try await hub.api.metric("flowhub_queued_bytes") ?? 0 > 500_000 }
            let listed = try await hub.call("GET", "/v1/flows/f/connections").json.member("connections")
            let id = try #require(listed?.elements.first?.member("connection_id")?.stringValue)
            let before = try #require(try await hub.api.metric("flowhub_ordinary_connections"))
            #expect(try await hub.call("DELETE", "/v1/connections/\(id)").status == 204)
            // For 3 s the connection waits for the client to read the end of the stream. The hub counts every second.
            var samples = 0
            while try await hub.api.metric("flowhub_ordinary_connections") ?? 0 > before {
                #expect(try await hub.api.metric("flowhub_response_bytes") == 0)
                #expect(try await hub.call("GET", "/v1/flows/f/state").status == 200)
                samples += 1
                try await Task.sleep(for: .milliseconds(50))
            }
            #expect(samples > 20, "the connection was closed at once, so the test proves nothing")
        }
    }
}
