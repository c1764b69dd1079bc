import FlowCore
import FlowTestKit
import Testing

/// The client's address in the connection registry, behind proxies.
struct ForwardedAddressTests {
    /// Opens an event stream of the flow, and returns the address that the registry has of it.
    private static func registered(
        _ hub: HubProcess, flow: String, start: [UInt8] = [], header: String = ""
    ) async throws -> String? {
        let exchange = try await RawExchange.open(port: hub.port)
        defer { exchange.close() }
        try await exchange.send(
            start + Array("GET /v1/flows/\(flow)/events HTTP/1.1\r\nHost: localhost\r\n\(header)\r\n".utf8))
        try await eventually("the stream") { exchange.receivedText.contains("event: snapshot") }
        var remote: String?
        try await eventually("the registry entry") {
            remote = try await hub.call("GET", "/v1/flows/\(flow)/connections", headers: [("X-Forwarded-For", "198.51.100.77")])
                .json.member("connections")?.elements.first?.member("remote")?.stringValue
            return remote != nil
        }
        return remote
    }

    @Test func trustedProxyStatesAddressInHeader() async throws {
        try await HubProcess.running(["FLOWHUB_TRUSTED_PROXIES": "10.0.0.0/8, 127.0.0.1"]) { hub in
            for flow in ["a", "b"] { _ = try await hub.api.put(flow, .emptyObject) }
            let header = "X-Forwarded-For: 192.0.2.1, 203.0.113.9, 10.0.0.2\r\n"
            #expect(try await Self.registered(hub, flow: "a", header: header) == "203.0.113.9")
            #expect(try await Self.registered(hub, flow: "b", header: "Forwarded: for=203.0.113.9\r\n") == "127.0.0.1")
        }
    }

    @Test func othersCannotStateAddress() async throws {
        try await HubProcess.running(["FLOWHUB_TRUSTED_PROXIES": "10.0.0.0/8"]) { hub in
            _ = try await hub.api.put("a", .emptyObject)
            #expect(try await Self.registered(hub, flow: "a", header: "X-Forwarded-For: 203.0.113.9\r\n") == "127.0.0.1")
        }
    }

    @Test func trustedProxyStatesAddressByProxyProtocol() async throws {
        let environment = ["FLOWHUB_TRUSTED_PROXIES": "127.0.0.1", "FLOWHUB_FORWARDED": "proxy-v2"]
        let signature: [UInt8] = [0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a]
        let client: [UInt8] = signature + [0x21, 0x11, 0, 12, 203, 0, 113, 9, 127, 0, 0, 1, 0x12, 0x67, 0, 80]
        // Every connection from this machine must begin with a header; a health check states no address.
        let local: [UInt8] = signature + [0x20, 0, 0, 0]
        try await HubProcess.running(environment) { hub in
            func ask(_ method: String, _ target: String, body: String = "") async throws -> HTTPReply {
                let exchange = try await RawExchange.open(port: hub.port)
                defer { exchange.close() }
                let length = "Content-Length: \(body.utf8.count)\r\n"
                try await exchange.send(
                    local + Array("\(method) \(target) HTTP/1.1\r\nHost: localhost\r\n\(length)\r\n\(body)".utf8))
                return try await exchange.replies(1)[0]
            }
            #expect(try await ask("PUT", "/v1/flows/a/state", body: "{}").status == 201)
            let stream = try await RawExchange.open(port: hub.port)
            defer { stream.close() }
            // Byte by byte: the header may arrive in any pieces.
            for byte in client { try await stream.send([byte]) }
            try await stream.send("GET /v1/flows/a/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            try await eventually("the stream") { stream.receivedText.contains("event: snapshot") }
            try await eventually("the registry entry") {
                try await ask("GET", "/v1/flows/a/connections").json.member("connections")?.elements.first?.member("remote")?
                    .stringValue == "203.0.113.9"
            }
            let plain = try await RawExchange.open(port: hub.port)
            try await plain.send("GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
            try await plain.waitUntilClosed(within: .seconds(10))
            #expect(plain.received.isEmpty)
            #expect(hub.log.contains("does not begin with a PROXY protocol header"))
        }
    }
}
