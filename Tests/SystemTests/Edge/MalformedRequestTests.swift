import FlowCore
import FlowTestKit
import Testing

/// Malformed and slow requests are rejected with a problem, within the timeouts, without effect on other clients.
@Suite(.hub(["FLOWHUB_HEAD_TIMEOUT_SECONDS": "1", "FLOWHUB_BODY_TIMEOUT_SECONDS": "1"]))
struct MalformedRequestTests {
    @Test(arguments: MalformedRequest.headers + MalformedRequest.bodies + MalformedRequest.lines)
    func rejectsMalformedRequestAndIgnoresFollowingBytes(_ request: MalformedRequest) async throws {
        let hub = try SharedHub.hub
        let flow = "smuggled-" + request.name.map { $0.isASCII && $0.isLetter ? String($0) : "-" }.joined()
        let exchange = try await RawExchange.open(port: hub.port)
        defer { exchange.close() }
        async let sent: Void? = try? exchange.send(request.bytes() + MalformedRequest.smuggled(flow))
        let reply = try await exchange.replies(1, within: .seconds(40))[0]
        #expect(request.statuses.contains(reply.status), "\(reply.status) \(reply.text.prefix(300))")
        #expect(reply.header("content-type") == "application/problem+json")
        #expect(reply.problemCode != nil && reply.json.member("detail")?.stringValue?.isEmpty == false)
        #expect(reply.header("connection")?.lowercased() == "close")
        try? await exchange.closeOutput()
        try await exchange.waitUntilClosed(within: .seconds(40))
        _ = await sent

        #expect(try await hub.call("GET", "/health/live").status == 200)
        #expect(try await hub.call("GET", "/v1/flows/\(flow)/state").status == 404, "the request after it was executed")
    }

    @Test func closesEmptyConnectionWithoutResponse() async throws {
        let exchange = try await RawExchange.open(port: try SharedHub.hub.port)
        try await exchange.waitUntilClosed(within: .seconds(40))
        #expect(exchange.received.isEmpty)
    }

    @Test func incompleteRequestTimesOutWith408() async {
        await concurrently(
            ["GET /health/li", "POST /v1/flows/slow/events HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{}"],
            self.incompleteRequestTimesOutWith408(_:))
    }

    private func incompleteRequestTimesOutWith408(_ start: String) async throws {
        let exchange = try await RawExchange.open(port: try SharedHub.hub.port)
        defer { exchange.close() }
        try await exchange.send(start)
        let reply = try await exchange.replies(1, within: .seconds(40))[0]
        #expect(reply.status == 408)
        #expect(reply.problemCode == "request_timeout")
        try await exchange.waitUntilClosed(within: .seconds(40))
    }

    @Test func tricklingRequestHeadTimesOutWith408() async throws {
        let exchange = try await RawExchange.open(port: try SharedHub.hub.port)
        defer { exchange.close() }
        try await exchange.send("GET /health/live HTTP/1.1\r\nHost: localhost\r\nX-A: ")
        // The interval of the attack, not a wait: each byte arrives well within the timeout of a whole head.
        try await eventually("an answer", within: .seconds(40), every: .milliseconds(100)) {
            if !exchange.received.isEmpty { return true }
            try? await exchange.send("a")
            return false
        }
        #expect(try await exchange.replies(1)[0].status == 408)
    }

    @Test func abortedConnectionsLeaveNoOpenFiles() async throws {
        try await HubProcess.running { hub in
            _ = try await hub.call("GET", "/health/live")
            let before = try #require(hub.processMetrics).openFiles
            let starts = [
                "G", "GET / HTTP/1.1\r\nHo",
                "POST /v1/flows/cut/events HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\n{",
            ]
            for number in 0..<60 {
                let exchange = try await RawExchange.open(port: hub.port)
                try await exchange.send(starts[number % starts.count])
                exchange.close()
            }
            try await eventually("the descriptors of the closed connections to be closed", within: .seconds(8)) {
                (hub.processMetrics?.openFiles ?? .max) <= before
            }
            #expect(try await hub.call("GET", "/v1/flows/cut/state").status == 404)
        }
    }

    @Test func malformedRequestsDoNotGrowMemory() async throws {
        try await HubProcess.running(["FLOWHUB_HEAD_TIMEOUT_SECONDS": "1", "FLOWHUB_BODY_TIMEOUT_SECONDS": "5"]) { hub in
            let bomb =
                "POST /v1/flows/bomb/events HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
                + String(repeating: "1;" + String(repeating: "a", count: 8_000) + "\r\n \r\n", count: 500) + "0\r\n\r\n"
            let names = ["headers of 2 MB", "a target of 1 MB", "endless trailers", "noise"]
            let all = MalformedRequest.headers + MalformedRequest.bodies + MalformedRequest.lines
            let payloads = all.filter { names.contains($0.name) }.map { $0.bytes() } + [Array(bomb.utf8)]
            try #require(payloads.count == names.count + 1)
            func sendAll() async throws -> Int {
                for payload in payloads {
                    let reply = try await hub.answer(to: payload)
                    #expect((400..<500).contains(reply.status))
                }
                return try #require(hub.processMetrics).residentBytes
            }
            var warm = 0
            for _ in 0..<6 { warm = try await sendAll() }
            var last = 0
            for _ in 0..<12 { last = try await sendAll() }
            // One round sends 8 MB, so twelve rounds would leave 96 MB if they were kept.
            #expect(last - warm < 16_000_000, "\(warm) bytes before, \(last) after")
        }
    }
}
