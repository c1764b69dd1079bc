import FlowCore
import FlowTestKit
import Testing

/// Event streams are chunked for HTTP/1.1, and leave their connections usable.
@Suite(.hub(["FLOWHUB_LINGER_MS": "0", "FLOWHUB_EVENT_LOOPS": "1"]))
struct ChunkedStreamTests {
    private static let health = "GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"

    private static func get(_ flow: String, _ fields: String = "") -> String {
        "GET /v1/flows/\(flow)/events HTTP/1.1\r\nHost: localhost\r\n\(fields)\r\n"
    }

    /// Ends the streams of a flow.
    private static func end(_ flow: String) async throws {
        _ = try await SharedHub.hub.api.put(flow, .emptyObject)
        _ = try await SharedHub.hub.api.delete(flow)
    }

    /// The head of the first response, and its chunks as received so far. The last one is empty if the response is complete.
    private static func chunks(_ exchange: RawExchange) throws -> (head: String, chunks: [String]) {
        let received = exchange.received
        let end = try #require(received.firstRange(of: Array("\r\n\r\n".utf8)))
        var chunks: [String] = []
        var rest = received[end.upperBound...]
        while let line = rest.firstRange(of: Array("\r\n".utf8)) {
            let size = try #require(Int(String(decoding: rest[..<line.lowerBound], as: UTF8.self), radix: 16))
            guard rest.endIndex >= line.upperBound + size + 2 else { break }
            chunks.append(String(decoding: rest[line.upperBound..<line.upperBound + size], as: UTF8.self))
            #expect(rest[(line.upperBound + size)...].starts(with: Array("\r\n".utf8)))
            rest = rest[(line.upperBound + size + 2)...]
            if size == 0 { break }
        }
        return (String(decoding: received[..<end.lowerBound], as: UTF8.self), chunks)
    }

    @Test func eachEventIsOneWholeChunkAndConnectionIsUsedAgain() async throws {
        let hub = try SharedHub.hub
        let exchange = try await RawExchange.open(port: hub.port)
        defer { exchange.close() }
        try await exchange.send(Self.get("chunked"))
        try await eventually("the stream") { exchange.receivedText.contains("event: caught_up") }
        for number in 1...3 {
            #expect(try await hub.api.publish("row", try jsonText("\(number)"), to: "chunked").isAcknowledged)
            // A chunk is received with its end: what reads by chunks hears of the event at once.
            try await eventually("event \(number)") {
                try Self.chunks(exchange).chunks.count { $0.contains("event: row") } == number
            }
        }
        try await Self.end("chunked")
        try await exchange.waitUntilReceived("\n\n\r\n0\r\n\r\n")
        let (head, chunks) = try Self.chunks(exchange)
        let fields = head.lowercased().split(separator: "\r\n")
        #expect(fields.contains("transfer-encoding: chunked"), "\(head)")
        #expect(!fields.contains { $0.hasPrefix("connection:") || $0.hasPrefix("content-length:") }, "\(head)")
        // The first line of the first event is a chunk of its own, because the rest is shared.
        #expect(chunks.first?.hasPrefix("retry: ") == true)
        #expect(chunks.last == "" && chunks.dropFirst().dropLast().allSatisfy { $0.hasSuffix("\n\n") }, "\(chunks)")
        #expect(chunks.filter { $0.contains("event: row") }.allSatisfy { $0.ranges(of: "event: ").count == 1 }, "\(chunks)")
        #expect(chunks.dropLast().last?.contains("event: closing") == true)

        // The same connection: an ordinary request, another stream, and one more request after that.
        try await exchange.send(Self.health)
        #expect(try await exchange.replies(2).map(\.status) == [200, 200])
        try await exchange.send(Self.get("second"))
        try await eventually("the second stream") { exchange.receivedText.ranges(of: "event: caught_up").count == 2 }
        try await Self.end("second")
        let second = try await exchange.replies(3)[2]
        #expect(second.text.contains("event: closing") && second.header("transfer-encoding") == "chunked")
        try await exchange.send("PUT /v1/flows/after/state HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}")
        #expect(try await exchange.replies(4)[3].status == 201)
    }

    @Test func streamEndsWithConnection() async {
        await concurrently(
            ["HTTP/1.0\r\n", "HTTP/1.0\r\nConnection: keep-alive\r\n", "HTTP/1.1\r\nConnection: close\r\n"],
            self.streamEndsWithConnection(_:))
    }

    private func streamEndsWithConnection(_ version: String) async throws {
        let hub = try SharedHub.hub
        let exchange = try await RawExchange.open(port: hub.port)
        defer { exchange.close() }
        let flow = "until-close-\(version.utf8.count)"
        try await exchange.send("GET /v1/flows/\(flow)/events \(version)Host: localhost\r\n\r\n")
        try await eventually("the stream") { exchange.receivedText.contains("event: caught_up") }
        try await Self.end(flow)
        try await exchange.waitUntilClosed()
        let reply = try await exchange.replies(1)[0]
        #expect(reply.header("transfer-encoding") == nil && reply.header("connection") == "close")
        #expect(reply.text.contains("event: closing") && reply.text.hasSuffix("\n\n") && !reply.text.contains("\r"))
    }

    /// With the stream's request, later as parts of a request, and the rest of the stream's own request.
    @Test func nothingBehindStreamIsAnsweredAndConnectionEndsWithIt() async throws {
        let hub = try SharedHub.hub
        for (place, inner) in [MalformedRequest.smuggled("behind-3"), [], [], MalformedRequest.smuggled("behind-4")].enumerated()
        {
            let exchange = try await RawExchange.open(port: hub.port)
            defer { exchange.close() }
            let flow = "front-\(place)"
            let body = place == 2 ? "Content-Length: 10\r\n" : ""
            try await exchange.send(Array(Self.get(flow, body).utf8) + (place == 0 ? inner : []))
            try await eventually("the stream") { exchange.receivedText.contains("event: caught_up") }
            if place == 3 {
                try await exchange.send(inner)
                // The one event loop has read it when it has answered later requests of other connections.
                for _ in 0..<2 { #expect(try await hub.call("GET", "/health/live").status == 200) }
            }
            try await Self.end(flow)
            let reply = try await exchange.replies(1)[0]
            #expect(reply.text.contains("event: closing"))
            if place == 1 {
                try await exchange.send(Self.health)
                #expect(try await exchange.replies(2)[1].status == 200)
            } else {
                try await exchange.waitUntilClosed()
                #expect(exchange.receivedText.ranges(of: "HTTP/1.1 ").count == 1)
            }
        }
        for flow in ["behind-3", "behind-4"] { #expect(try await hub.api.state(of: flow) == nil) }
    }

    /// The decoder leaves the connection with what it has read of a further request, whose rest must not be taken for a request.
    @Test(arguments: [
        "P", "PUT /v1/flows/begun", "PUT /v1/flows/begun/state HTTP/1.1\r\n",
        "PUT /v1/flows/begun/state HTTP/1.1\r\nHost: localhost\r\nX-A: 1\r\n",
    ]) func beginningOfRequestBehindStreamEndsConnection(_ part: String) async throws {
        let exchange = try await RawExchange.open(port: SharedHub.hub.port)
        defer { exchange.close() }
        let flow = "begun-\(part.utf8.count)"
        try await exchange.send(Self.get(flow) + part)
        try await eventually("the stream") { exchange.receivedText.contains("event: caught_up") }
        try await Self.end(flow)
        try await exchange.waitUntilClosed()
        #expect(try await exchange.replies(1)[0].text.contains("event: closing"))
        #expect(exchange.receivedText.ranges(of: "HTTP/1.1 ").count == 1)
    }

    @Test func streamOverLimitLeavesConnectionUsable() async throws {
        try await HubProcess.running(["FLOWHUB_MAX_CONNECTIONS": "1"]) { hub in
            let first = EventStreamClient(.flow("f"), port: hub.port)
            try await first.connect()
            _ = try await first.next(event: "caught_up")
            let exchange = try await RawExchange.open(port: hub.port)
            defer { exchange.close() }
            try await exchange.send(Self.get("f") + Self.health + Self.get("f"))
            // A stream that ends at once is like any response: what waits behind it is answered.
            let replies = try await exchange.replies(3)
            #expect(replies.map(\.status) == [200, 200, 200])
            for full in [replies[0], replies[2]] {
                #expect(full.text.contains("retry: ") && full.text.contains(#""reason":"full","reconnect":true}"#))
            }
            let next = try await RawExchange.open(port: hub.port)
            defer { next.close() }
            for number in 0..<3 {
                try await next.send(number == 1 ? Self.health : Self.get("f"))
                #expect(try await next.replies(number + 1).last?.status == 200)
            }
            first.disconnect()
        }
    }

    /// A connection whose stream has ended is an idle one, with the timeout of these.
    @Test func connectionOfEndedStreamIsIdle() async throws {
        try await HubProcess.running(["FLOWHUB_LINGER_MS": "0", "FLOWHUB_IDLE_TIMEOUT_SECONDS": "1"]) { hub in
            let exchange = try await RawExchange.open(port: hub.port)
            defer { exchange.close() }
            _ = try await hub.api.put("f", .emptyObject)
            try await exchange.send(Self.get("f"))
            try await eventually("the stream") { exchange.receivedText.contains("event: caught_up") }
            _ = try await hub.api.delete("f")
            _ = try await exchange.replies(1)
            try await exchange.waitUntilClosed(within: .seconds(10))
        }
    }
}
