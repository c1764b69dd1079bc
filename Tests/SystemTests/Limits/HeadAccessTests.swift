import FlowCore
import FlowTestKit
import Testing

/// The token of a request is verified at its head: a client without access makes the hub keep nothing.
@Suite(.hub(["FLOWHUB_JWT_KEY": TestToken.key]))
struct HeadAccessTests {
    private static func head(_ fields: [String], method: String = "POST", path: String = "/v1/flows/f/events") -> String {
        ([("\(method) \(path) HTTP/1.1"), "Host: localhost"] + fields).joined(separator: "\r\n") + "\r\n\r\n"
    }

    @Test(
        "rejects a request before its body arrives",
        arguments: [
            (["Content-Length: 2097151"], 401, "token_missing"), (["Transfer-Encoding: chunked"], 401, "token_missing"),
            (["Content-Length: 2097151", "Authorization: Bearer x.y.z"], 401, "token_invalid"),
            (["Content-Length: 100", "Expect: 100-continue"], 401, "token_missing"),
            (["Content-Length: 2097151", "Cookie: flowhub_token=x.y.z"], 403, "origin_forbidden"),
        ])
    func rejectsBeforeBody(_ fields: [String], _ status: Int, _ code: String) async throws {
        for path in ["/v1/flows/f/events", "/v1/imports", "//v1/flows/f/events"] {
            let exchange = try await RawExchange.open(port: try SharedHub.hub.port)
            defer { exchange.close() }
            try await exchange.send(Self.head(fields, path: path))
            let reply = try await exchange.replies(1, within: .seconds(5))[0]
            #expect(reply.status == status && reply.problemCode == code, "\(path): \(reply.text)")
        }
    }

    @Test func smallRejectedBodyKeepsConnectionOpen() async throws {
        let hub = try SharedHub.hub
        let exchange = try await RawExchange.open(port: hub.port)
        defer { exchange.close() }
        let inner = "GET /v1/flows HTTP/1.1\r\nHost: localhost\r\n\r\n"
        try await exchange.send(Self.head(["Content-Length: \(inner.utf8.count)"]) + inner)
        try await exchange.send(Self.head(["Content-Length: 2", TestToken().field]) + "{}")
        try await exchange.send("GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
        #expect(try await exchange.replies(3).map(\.status) == [401, 422, 200])
    }

    @Test func rejectionOfHEADRequestHasNoBody() async throws {
        let exchange = try await RawExchange.open(port: try SharedHub.hub.port)
        defer { exchange.close() }
        try await exchange.send(Self.head(["Content-Length: 5"], method: "HEAD", path: "/v1/flows") + "hello")
        try await exchange.closeOutput()
        try await exchange.waitUntilClosed(within: .seconds(10))
        #expect(exchange.receivedText.hasPrefix("HTTP/1.1 401 ") && exchange.receivedText.hasSuffix("\r\n\r\n"))
    }

    @Test func halfClosedClientOfRejectedRequestIsClosed() async throws {
        let exchange = try await RawExchange.open(port: try SharedHub.hub.port)
        defer { exchange.close() }
        try await exchange.send(Self.head(["Content-Length: 5", "Authorization: Bearer bad.bad.bad"]) + "hello")
        try await exchange.closeOutput()
        // Well below the idle timeout of 75 s.
        try await exchange.waitUntilClosed(within: .seconds(20))
        #expect(exchange.receivedText.hasPrefix("HTTP/1.1 401 "))
    }

    @Test func bytesAfterCompleteRequestDoNotRejectIt() async throws {
        let hub = try SharedHub.hub
        let exchange = try await RawExchange.open(port: hub.port)
        defer { exchange.close() }
        let body = #"{"type":"a"}"#
        // A token that no request has used before, so that its verification is in progress when the rest arrives.
        let token = TestToken(subject: "unseen")
        let publish = Self.head(["Content-Length: \(body.utf8.count)", token.field], path: "/v1/flows/followed/events") + body
        try await exchange.send(publish + "BAD\r\n\r\n")
        let reply = try await exchange.replies(1)[0]
        #expect(reply.status == 201 && reply.header("connection") == "close")
        try await exchange.waitUntilClosed(within: .seconds(20))
    }

    @Test func answersRequestsOfUnknownTokenInOrder() async throws {
        let exchange = try await RawExchange.open(port: try SharedHub.hub.port)
        defer { exchange.close() }
        let body = #"{"type":"a"}"#
        let token = TestToken()
        let publish = Self.head(["Content-Length: \(body.utf8.count)", token.field], path: "/v1/flows/ordered/events") + body
        let read = Self.head([token.field], method: "GET", path: "/v1/flows/ordered/state")
        try await exchange.send(publish + read + Self.head([], method: "GET", path: "/v1/flows") + publish)
        #expect(try await exchange.replies(4).map(\.status) == [201, 200, 401, 201])
    }

    @Test func bodiesWithoutTokenTakeNoMemory() async throws {
        try await HubProcess.running(["FLOWHUB_JWT_KEY": TestToken.key]) { hub in
            #expect(try await hub.call("GET", "/health/live").status == 200)
            let before = try #require(hub.processMetrics).residentBytes
            let count = 40
            let body = [UInt8](repeating: UInt8(ascii: " "), count: 2_097_151)
            var exchanges: [RawExchange] = []
            defer { for exchange in exchanges { exchange.close() } }
            for number in 0..<count {
                let exchange = try await RawExchange.open(port: hub.port)
                exchanges.append(exchange)
                // Outside /v1 no route takes a body, so it is discarded, and the response is the same as without it.
                let path = number.isMultiple(of: 2) ? "/v1/flows/f/events" : "/nothing"
                let head = Self.head(["Content-Length: \(body.count + 1)"], path: path)
                try? await exchange.send(Array(head.utf8) + body)
            }
            // Every connection has sent all but the last byte.
            let grown = try #require(hub.processMetrics).peakResidentBytes - before
            #expect(grown < 30_000_000, "\(grown >> 20) MiB for \(count) bodies without a token")
            #expect(try await hub.api.metric("flowhub_request_body_bytes") == 0)
            for number in stride(from: 1, to: count, by: 2) {
                try await exchanges[number].send(" ")
                #expect(try await exchanges[number].replies(1)[0].status == 404)
            }
        }
    }
}

extension TestToken {
    /// The `Authorization` field as a line of a request head.
    fileprivate var field: String { "\(self.header.name): \(self.header.value)" }
}
