import NIOCore

/// A connection for arbitrary, also malformed requests: sends exactly the given bytes and records all received bytes.
public final class RawExchange: Sendable {
    private struct State: Sendable {
        var received: [UInt8] = []
        var isClosed = false
    }

    private let state: AsyncValue<State>
    private let wire: WireConnection

    private init(_ wire: WireConnection, _ state: AsyncValue<State>) {
        self.wire = wire
        self.state = state
    }

    public static func open(port: Int) async throws -> RawExchange {
        let state = AsyncValue(State())
        let wire = try await WireConnection.open(port: port) { bytes in
            state.change { $0.received.append(contentsOf: bytes.readableBytesView) }
        } closed: { _ in
            state.change { $0.isClosed = true }
        }
        return RawExchange(wire, state)
    }

    public func send(_ bytes: [UInt8]) async throws { try await self.wire.write(bytes) }
    public func send(_ text: String) async throws { try await self.send(Array(text.utf8)) }
    public func closeOutput() async throws { try await self.wire.closeOutput() }
    public func close() { self.wire.close() }

    public var received: [UInt8] { self.state.read { $0.received } }
    public var receivedText: String { String(decoding: self.received, as: UTF8.self) }
    public var isClosed: Bool { self.state.read { $0.isClosed } }

    public func waitUntilClosed(within timeout: Duration = .seconds(20)) async throws {
        try await self.state.wait(for: "the end of the connection", within: timeout) { $0.isClosed ? () : nil }
    }

    /// Waits until the received bytes end with this text.
    public func waitUntilReceived(_ end: String, within timeout: Duration = .seconds(20)) async throws {
        let bytes = Array(end.utf8)
        try await self.state.wait(for: "the bytes \(end.suffix(200).debugDescription)", within: timeout) { state in
            state.received.suffix(bytes.count).elementsEqual(bytes) ? () : nil
        }
    }

    /// Waits for the first `count` responses on the connection.
    /// - Returns: the responses, in order.
    public func replies(_ count: Int, within timeout: Duration = .seconds(20)) async throws -> [HTTPReply] {
        try await self.state.wait(for: "\(count) responses", within: timeout) { state in
            var replies: [HTTPReply] = []
            var bytes = state.received[...]
            while replies.count < count {
                var parser = HTTPReplyParser()
                guard (try? parser.feed(bytes)) != nil else { return nil }
                if state.isClosed { try? parser.end() }
                guard parser.isComplete, let reply = parser.reply else { return nil }
                replies.append(reply)
                bytes = bytes.suffix(parser.rest.count)
            }
            return replies
        }
    }
}
