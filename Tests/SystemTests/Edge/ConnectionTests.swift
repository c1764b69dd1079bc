import FlowCore
import FlowTestKit
import Testing

/// Valid requests on unusual connections: pipelined, half-closed, after a stream, or waiting for `100 Continue`.
@Suite(.hub())
struct ConnectionTests {
    @Test func answersPipelinedRequestsInOrder() async throws {
        let hub = try SharedHub.hub
        let exchange = try await RawExchange.open(port: hub.port)
        defer { exchange.close() }
        let path = "/v1/flows/pipelined/state HTTP/1.1\r\nHost: localhost\r\n"
        let requests =
            "PUT \(path)Content-Length: 7\r\n\r\n{\"a\":1}" + "GET \(path)\r\n"
            + "PATCH \(path)Content-Length: 7\r\n\r\n{\"a\":2}" + "GET \(path)\r\n"
            + "GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"
        try await exchange.send(requests)
        let replies = try await exchange.replies(5)
        #expect(replies.map(\.status) == [201, 200, 200, 200, 200])
        #expect(replies.map { $0.json.member("version")?.intValue } == [1, 1, 2, 2, nil])
        #expect(replies[1].json.member("state")?.string == #"{"a":1}"#)
        #expect(replies[3].json.member("state")?.string == #"{"a":2}"#)
    }

    @Test func closesHTTP10ConnectionUnlessKeepAlive() async throws {
        let hub = try SharedHub.hub
        let plain = try await RawExchange.open(port: hub.port)
        defer { plain.close() }
        try await plain.send("GET /health/live HTTP/1.0\r\n\r\n")
        try await plain.waitUntilClosed(within: .seconds(2))
        #expect(try await plain.replies(1).map { $0.header("connection") } == ["close"])
        let keptAlive = try await RawExchange.open(port: hub.port)
        defer { keptAlive.close() }
        let request = "GET /health/live HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
        try await keptAlive.send(request)
        #expect(try await keptAlive.replies(1).map { $0.header("connection") } == [nil])
        try await keptAlive.send(request)
        #expect(try await keptAlive.replies(2).map(\.status) == [200, 200])
    }

    @Test func answersMorePipelinedRequestsThanFitInBuffer() async throws {
        let exchange = try await RawExchange.open(port: try SharedHub.hub.port)
        defer { exchange.close() }
        let count = 600
        let requests = (0..<count).map { "GET /nothing-\($0) HTTP/1.1\r\nHost: localhost\r\n\r\n" }.joined()
        async let sent: Void = exchange.send(
            requests + "GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        try await exchange.waitUntilClosed(within: .seconds(40))
        _ = try? await sent
        let replies = try await exchange.replies(count + 1)
        #expect(replies.dropLast().allSatisfy { $0.status == 404 })
        #expect(replies.last?.status == 200)
    }

    @Test func neverExecutesRequestAfterStream() async throws {
        let hub = try SharedHub.hub
        let exchange = try await RawExchange.open(port: hub.port)
        defer { exchange.close() }
        let stream = "GET /v1/flows/front/events HTTP/1.1\r\nHost: localhost\r\n\r\n"
        try await exchange.send(Array(stream.utf8) + MalformedRequest.smuggled("behind-1"))
        try await eventually("the stream's snapshot") { exchange.receivedText.contains("event: snapshot") }
        try await exchange.send(MalformedRequest.smuggled("behind-2"))
        let published = try await hub.api.publish("seen", .null, to: "front")
        #expect(published.status == 201)
        try await eventually("the event") { exchange.receivedText.contains("event: seen") }
        #expect(exchange.receivedText.ranges(of: "HTTP/1.1 ").count == 1, "the stream must be the only response")
        #expect(try await hub.api.state(of: "behind-1") == nil)
        #expect(try await hub.api.state(of: "behind-2") == nil)
    }

    @Test func doesNotParseStreamBodyAsRequest() async throws {
        let hub = try SharedHub.hub
        let exchange = try await RawExchange.open(port: hub.port)
        defer { exchange.close() }
        let inner = MalformedRequest.smuggled("in-body")
        try await exchange.send(
            Array("GET /v1/flows/bodied/events HTTP/1.1\r\nHost: localhost\r\nContent-Length: \(inner.count)\r\n\r\n".utf8)
                + inner)
        try await eventually("the stream") { exchange.receivedText.contains("event: snapshot") }
        #expect(try await hub.api.publish("seen", .null, to: "bodied").status == 201)
        try await eventually("the event") { exchange.receivedText.contains("event: seen") }
        #expect(try await hub.api.state(of: "in-body") == nil)
    }

    @Test func skipsBodyOfRejectedStreamAndAnswersNextRequest() async throws {
        let hub = try SharedHub.hub
        let exchange = try await RawExchange.open(port: hub.port)
        defer { exchange.close() }
        let inner = MalformedRequest.smuggled("in-refused-body")
        let stream = "GET /v1/flows/a%20b/events HTTP/1.1\r\nHost: localhost\r\nContent-Length: \(inner.count)\r\n\r\n"
        try await exchange.send(Array(stream.utf8) + inner + Array("GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n".utf8))
        let replies = try await exchange.replies(2)
        #expect(replies.map(\.status) == [400, 200])
        #expect(replies[0].problemCode == "bad_flow_id")
        #expect(try await hub.api.state(of: "in-refused-body") == nil)
    }

    @Test func answersHalfClosedClient() async throws {
        let exchange = try await RawExchange.open(port: try SharedHub.hub.port)
        defer { exchange.close() }
        try await exchange.send(
            "PUT /v1/flows/half/state HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}GET /v1/flows/half/state HTTP/1.1\r\nHost: localhost\r\n\r\n"
        )
        try await exchange.closeOutput()
        #expect(try await exchange.replies(2).map(\.status) == [201, 200])
        try await exchange.waitUntilClosed()
    }

    @Test func sends100ContinueUnlessBodyIsRejected() async throws {
        let hub = try SharedHub.hub
        let exchange = try await RawExchange.open(port: hub.port)
        defer { exchange.close() }
        let head = "PUT /v1/flows/expect/state HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: "
        try await exchange.send(head + "2\r\n\r\n")
        try await eventually("100 Continue") { exchange.receivedText == "HTTP/1.1 100 Continue\r\n\r\n" }
        try await exchange.send("{}")
        #expect(try await exchange.replies(1)[0].status == 201)

        let large = try await RawExchange.open(port: hub.port)
        defer { large.close() }
        try await large.send(head + "999999999\r\n\r\n")
        #expect(try await large.replies(1)[0].status == 413)
        #expect(!large.receivedText.contains("100 Continue"))
    }

    @Test(arguments: ["h2c", "websocket"])
    func ignoresUnsupportedUpgrade(_ name: String) async throws {
        // curl --http2 and Java's client request an upgrade to h2c, which a server may ignore (RFC 9110, 7.8).
        let exchange = try await RawExchange.open(port: try SharedHub.hub.port)
        defer { exchange.close() }
        let get = "GET /health/live HTTP/1.1\r\nHost: localhost\r\n"
        try await exchange.send(
            get + "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: \(name)\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n")
        let first = try await exchange.replies(1)[0]
        #expect(first.status == 200)
        if first.header("connection")?.lowercased() == "close" {
            try await exchange.waitUntilClosed()
        } else {
            try await exchange.send(get + "\r\n")
            #expect(try await exchange.replies(2, within: .seconds(5)).map(\.status) == [200, 200])
        }
    }

    @Test func acceptsAbsoluteFormAndHTTP10() async throws {
        let hub = try SharedHub.hub
        let absolute = try await hub.answer(to: Array("GET http://hub/health/live HTTP/1.1\r\nHost: localhost\r\n\r\n".utf8))
        #expect(absolute.status == 200)
        let old = try await hub.answer(to: Array("GET /health/live HTTP/1.0\r\n\r\n".utf8))
        #expect(old.status == 200)
    }
}
