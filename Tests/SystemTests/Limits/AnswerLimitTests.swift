import FlowCore
import FlowTestKit
import NIOCore
import Testing

/// Responses to a client that does not read them are bounded, in bytes and in time.
struct AnswerLimitTests {
    private static let path = "/v1/flows/big/state"
    private static let bytes = 1_000_000

    private static func get(_ fields: String = "") -> String { "GET \(Self.path) HTTP/1.1\r\nHost: localhost\r\n\(fields)\r\n" }

    private static func withHub(_ environment: [String: String] = [:], _ body: (HubProcess) async throws -> Void) async throws {
        try await HubProcess.running(environment) { hub in
            let text = try jsonText("{\"a\":\"\(String(repeating: "x", count: Self.bytes))\"}")
            #expect(try await hub.api.put("big", text).status == 201)
            try await body(hub)
        }
    }

    /// Counts received bytes, and responses by the start of their heads.
    private final class Received: Sendable {
        let text = AsyncValue<(bytes: Int, responses: Int)>((0, 0))
        let isClosed = AsyncValue(false)

        func append(_ buffer: ByteBuffer) {
            let heads = String(buffer: buffer).ranges(of: "HTTP/1.1 200").count
            self.text.change {
                $0.bytes += buffer.readableBytes
                $0.responses += heads
            }
        }
    }

    private static func deaf(
        _ hub: HubProcess, _ received: Received = Received(), isNarrow: Bool = true
    ) async throws -> WireConnection {
        try await WireConnection.open(
            port: hub.port, options: .init(reads: false, isNarrow: isNarrow), received: received.append,
            closed: { _ in received.isClosed.change { $0 = true } })
    }

    @Test func unreadResponsesPausePipelinedRequests() async throws {
        try await Self.withHub { hub in
            let before = try #require(hub.processMetrics).residentBytes
            let received = Received()
            let wire = try await Self.deaf(hub, received, isNarrow: false)
            defer { wire.close() }
            let count = 150
            let requests = Array(String(repeating: Self.get(), count: count).utf8)
            async let sent: Void = wire.write(requests)
            for _ in 0..<30 {
                try await Task.sleep(for: .milliseconds(100))
                let grown = try #require(hub.processMetrics).residentBytes - before
                guard grown < 40 * Self.bytes else {
                    Issue.record("\(grown >> 20) MiB for responses that are not read")
                    return
                }
            }
            // Other clients are served in the meantime, and no request is lost.
            #expect(try await hub.api.publish("other", .null, to: "other").status == 201)
            try await wire.read()
            try await sent
            try await received.text.wait(for: "every answer", within: .seconds(60)) {
                $0.responses == count && $0.bytes > count * Self.bytes ? () : nil
            }
        }
    }

    @Test func closesClientThatReadsNothing() async throws {
        try await Self.withHub(["FLOWHUB_ANSWER_TIMEOUT_SECONDS": "1"]) { hub in
            let received = Received()
            let wire = try await Self.deaf(hub, received)
            defer { wire.close() }
            try await wire.write(Self.get().utf8)
            // Not a wait: the client reads nothing for longer than the write timeout.
            try await Task.sleep(for: .seconds(5))
            try await wire.read()
            try await received.isClosed.wait(for: "the connection's end") { $0 ? () : nil }
            #expect(
                received.text.value.responses == 1 && received.text.value.bytes < Self.bytes, "more than the kernel had buffered")
        }
    }

    /// A response ends with its token, although the client still reads it.
    @Test func revocationEndsResponseInProgress() async throws {
        try await HubProcess.running(["FLOWHUB_JWT_KEY": TestToken.key]) { hub in
            let (anna, admin) = (TestToken(subject: "anna"), TestToken(subject: "root", scopes: ["admin"]))
            let text = "{\"a\":\"\(String(repeating: "x", count: Self.bytes))\"}"
            #expect(try await hub.call("PUT", Self.path, headers: [anna.header], body: text).status == 201)
            let received = Received()
            let wire = try await Self.deaf(hub, received)
            defer { wire.close() }
            try await wire.write(Self.get("Authorization: Bearer \(anna.text)\r\n").utf8)
            try await eventually("the response waiting for the client", within: .seconds(5)) {
                try #require(try await hub.api.metric("flowhub_response_bytes")) > 0
            }
            #expect(
                try await hub.call("POST", "/v1/revocations", headers: [admin.header], body: #"{"subject":"anna"}"#).status == 201
            )
            try await eventually("the end of the response", within: .seconds(5)) {
                try #require(try await hub.api.metric("flowhub_response_bytes")) == 0
            }
            try await wire.read()
            try await received.isClosed.wait(for: "the connection's end") { $0 ? () : nil }
            #expect(received.text.value.bytes < Self.bytes)
        }
    }

    @Test func slowClientReceivesLastResponseCompletely() async throws {
        try await Self.withHub { hub in
            let received = Received()
            let wire = try await Self.deaf(hub, received)
            defer { wire.close() }
            try await wire.write(Self.get("Connection: close\r\n").utf8)
            // Not a wait: the client is slow, but within the write timeout.
            try await Task.sleep(for: .seconds(5))
            try await wire.read()
            try await received.text.wait(for: "the answer", within: .seconds(30)) { $0.bytes > Self.bytes ? () : nil }
        }
    }
}
