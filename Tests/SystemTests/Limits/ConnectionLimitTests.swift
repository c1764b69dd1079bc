import FlowCore
import FlowTestKit
import Testing

/// Idle connections, and more connections than there are files, do not shut others out.
struct ConnectionLimitTests {
    private static let live = "GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"
    private static let list = "GET /v1/flows HTTP/1.1\r\nHost: localhost\r\n\r\n"

    @Test func silentConnectionsGiveWayToOthers() async throws {
        let environment = ["FLOWHUB_MAX_ORDINARY_CONNECTIONS": "16", "FLOWHUB_EVENT_LOOPS": "1"]
        try await HubProcess.running(environment) { hub in
            let client = try await RawExchange.open(port: hub.port)
            defer { client.close() }
            try await client.send(Self.list)
            #expect(try await client.replies(1)[0].status == 200)
            var silent: [RawExchange] = []
            defer { for exchange in silent { exchange.close() } }
            for number in 0..<40 {
                let exchange = try await RawExchange.open(port: hub.port)
                silent.append(exchange)
                // Some send the beginning of a request.
                if number.isMultiple(of: 3) { try await exchange.send("GET / HTT") }
            }
            #expect(try await hub.call("GET", "/v1/flows").status == 200)
            // The longest idle ones were closed. A client whose request was answered was not, although it is idle for longer.
            try await silent[0].waitUntilClosed(within: .seconds(5))
            try await client.send(Self.list)
            #expect(try await client.replies(2)[1].status == 200)
            #expect(try #require(try await hub.api.metric("flowhub_evicted_connections_total")) >= 25)
        }
    }

    @Test func busyConnectionsLeaveRoomForHealthAndMetrics() async throws {
        let environment = ["FLOWHUB_MAX_ORDINARY_CONNECTIONS": "16", "FLOWHUB_EVENT_LOOPS": "1"]
        try await HubProcess.running(environment) { hub in
            var busy: [RawExchange] = []
            defer { for exchange in busy { exchange.close() } }
            for number in 0..<16 {
                busy.append(try await Self.unfinished(hub, number))
            }
            let refused = try await hub.call("GET", "/v1/flows")
            #expect(refused.status == 503 && refused.problemCode == "connections_full", "\(refused.text)")
            #expect(try await hub.call("GET", "/health/live").status == 200)
            #expect(try #require(try await hub.api.metric("flowhub_ordinary_connections")) >= 16)
            #expect(try #require(try await hub.api.metric("flowhub_refused_connections_total")) >= 1)
            for exchange in busy {
                try await exchange.send("{ }")
                #expect(try await exchange.replies(1)[0].status == 201)
            }
            #expect(try await hub.call("GET", "/v1/flows").status == 200)
        }
    }

    @Test func silentConnectionsLeaveReserveToHealthChecks() async throws {
        let environment = ["FLOWHUB_MAX_ORDINARY_CONNECTIONS": "16", "FLOWHUB_EVENT_LOOPS": "1"]
        try await HubProcess.running(environment) { hub in
            var busy: [RawExchange] = []
            defer { for exchange in busy { exchange.close() } }
            for number in 0..<16 { busy.append(try await Self.unfinished(hub, number)) }
            // Twice as many as the reserve has.
            for number in 0..<16 {
                let exchange = try await RawExchange.open(port: hub.port)
                busy.append(exchange)
                if number.isMultiple(of: 2) { try await exchange.send("GET /health/li") }
            }
            for _ in 0..<3 { #expect(try await hub.call("GET", "/health/live").status == 200) }
        }
    }

    @Test func accountsRequestsLeaveConnectionsToOthers() async throws {
        let environment = [
            "FLOWHUB_MAX_ORDINARY_CONNECTIONS": "16", "FLOWHUB_EVENT_LOOPS": "1", "FLOWHUB_JWT_KEY": TestToken.key,
        ]
        try await HubProcess.running(environment) { hub in
            let (own, other) = (TestToken(), TestToken(account: "8"))
            var busy: [RawExchange] = []
            defer { for exchange in busy { exchange.close() } }
            for number in 0..<8 { busy.append(try await Self.unfinished(hub, number, token: own.text)) }
            for (token, status) in [(own, 429), (other, 200), (own, 429), (other, 200)] {
                let reply = try await hub.call("GET", "/v1/flows", headers: [token.header])
                #expect(reply.status == status, "\(reply.text)")
                if status == 429 { #expect(reply.problemCode == "account_connections_full") }
            }
            // A connection that waits for its next request does not count.
            try await busy[0].send("{ }")
            #expect(try await busy[0].replies(1)[0].status == 201)
            #expect(try await hub.call("GET", "/v1/flows", headers: [own.header]).status == 200)
        }
    }

    /// Opens a connection with a request in progress: its body is missing.
    private static func unfinished(_ hub: HubProcess, _ number: Int, token: String? = nil) async throws -> RawExchange {
        let exchange = try await RawExchange.open(port: hub.port)
        let access = token.map { "Authorization: Bearer \($0)\r\n" } ?? ""
        try await exchange.send(
            "PUT /v1/flows/f\(number)/state HTTP/1.1\r\nHost: localhost\r\n\(access)Expect: 100-continue\r\n"
                + "Content-Length: 3\r\n\r\n")
        try await eventually("100 Continue") { exchange.receivedText.contains("100 Continue") }
        return exchange
    }

    @Test func moreStreamsThanFilesLeaveRoomForHealthAndMetrics() async throws {
        try await HubProcess.running(openFiles: 256) { hub in
            #expect(hub.log.contains("Connections are capped by the limit of open files"))
            var exchanges: [RawExchange] = []
            defer { for exchange in exchanges { exchange.close() } }
            for _ in 0..<300 {
                let exchange = try await RawExchange.open(port: hub.port)
                exchanges.append(exchange)
                try await exchange.send("GET /v1/flows/f/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            }
            let before = try #require(hub.processMetrics).cpuSeconds
            let start = ContinuousClock.now
            #expect(try await hub.call("GET", "/health/live").status == 200)
            let streams = try #require(try await hub.api.metric("flowhub_connections"))
            #expect(ContinuousClock.now - start < .seconds(2))
            #expect(streams > 60 && streams < 250)
            // Not a wait: the hub must be quiet for this time.
            try await Task.sleep(for: .seconds(1))
            let used = try #require(hub.processMetrics).cpuSeconds - before
            #expect(used < 0.5, "\(used) s of CPU time")
        }
    }

    @Test func waitsQuietlyWhileNoConnectionCanBeAccepted() async throws {
        try await HubProcess.running { hub in
            let stream = EventStreamClient(.flow("f"), port: hub.port)
            try await stream.connect()
            _ = try await stream.next(event: "snapshot")
            let before = try #require(hub.processMetrics)
            // Below the number of open files: the next descriptor would be above the limit.
            try await hub.limitOpenFiles(to: 4)
            let waiting = try await RawExchange.open(port: hub.port)
            defer { waiting.close() }
            try await waiting.send(Self.live)
            try await eventually("the log line") { hub.log.contains("Cannot accept connections") }
            // Not a wait: the hub must be quiet for this time.
            try await Task.sleep(for: .seconds(1))
            let used = try #require(hub.processMetrics).cpuSeconds - before.cpuSeconds
            #expect(used < 0.4, "\(used) s of CPU time")
            #expect(hub.log.ranges(of: "Cannot accept connections").count == 1)
            #expect(stream.isConnected)
            try await hub.limitOpenFiles(to: 1_024)
            #expect(try await waiting.replies(1, within: .seconds(5))[0].status == 200)
            #expect(try #require(try await hub.api.metric("flowhub_accept_errors_total")) >= 2)
        }
    }

    @Test func reserveStaysForHealthChecks() async throws {
        let environment = ["FLOWHUB_MAX_ORDINARY_CONNECTIONS": "16", "FLOWHUB_EVENT_LOOPS": "1"]
        try await HubProcess.running(environment) { hub in
            var open: [RawExchange] = []
            defer { for exchange in open { exchange.close() } }
            func upload(_ flow: String) async throws -> RawExchange {
                let exchange = try await RawExchange.open(port: hub.port)
                open.append(exchange)
                try await exchange.send(
                    "PUT /v1/flows/\(flow)/state HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"
                )
                try await eventually("an answer") { exchange.receivedText.contains("\r\n\r\n") }
                return exchange
            }
            for number in 0..<16 { #expect(try await upload("f\(number)").receivedText.contains("100 Continue")) }
            // An idle connection of the reserve gives way to another one, which may be used for no more than the first.
            for number in 0..<10 {
                let check = try await RawExchange.open(port: hub.port)
                open.append(check)
                try await check.send(Self.live)
                #expect(try await check.replies(1)[0].status == 200, "check \(number)")
                let other = try await upload("other")
                #expect(other.receivedText.hasPrefix("HTTP/1.1 503 ") && other.receivedText.contains("connections_full"))
                other.close()
            }
        }
    }
}
