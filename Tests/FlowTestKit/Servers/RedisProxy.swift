import NIOCore
import NIOPosix

/// A proxy between a hub and a ``RedisServer``, with faults that a test switches on and off.
public final class RedisProxy: Sendable {
    public enum Mode: Hashable, Sendable, CaseIterable {
        /// Forwards everything.
        case forward
        /// Forwards everything except pub/sub messages (`message`, `pmessage`): replies, confirmations and pongs still arrive.
        /// A message that the proxy had received only in part when the mode was set is dropped, too.
        case dropMessages
        /// Forwards nothing in either direction, not even the end of a connection. Connections stay open, and new ones are
        /// accepted. The bytes are forwarded after the mode ends.
        case freeze
        /// Closes all connections and refuses new ones, as if no server were running.
        case refuseConnections
    }

    struct Counters: Sendable {
        var connections = 0
        var accepted = 0
        var dropped = 0
    }

    public let port: Int
    private let server: RedisServer
    private let loop: any EventLoop
    private let counters: AsyncValue<Counters>
    private let core: NIOLoopBound<RedisProxyCore>

    private init(_ server: RedisServer) async throws {
        let port = try FreePort.choose()
        let loop: any EventLoop = MultiThreadedEventLoopGroup.singleton.next()
        let counters = AsyncValue(Counters())
        self.port = port
        self.server = server
        self.loop = loop
        self.counters = counters
        self.core = try await loop.submit {
            NIOLoopBound(
                RedisProxyCore(
                    loop: loop, port: port, serverPort: server.port, isEncrypted: server.isEncrypted, counters: counters),
                eventLoop: loop)
        }.get()
    }

    /// Runs a proxy for the duration of the body, then closes it with all its connections.
    public static func running<Result>(
        before server: RedisServer, _ body: (RedisProxy) async throws -> Result
    ) async throws -> Result {
        let proxy = try await RedisProxy(server)
        do {
            try await proxy.loop.flatSubmit { proxy.core.value.listen() }.get()
            let result = try await body(proxy)
            try await proxy.switchTo(.refuseConnections)
            return result
        } catch {
            try? await proxy.switchTo(.refuseConnections)
            throw error
        }
    }

    /// URL of the server through the proxy.
    public var url: String { self.server.url(port: self.port) }

    // MARK: Faults

    /// Sets the mode. It applies to every byte that the proxy has not forwarded when this returns.
    public func switchTo(_ mode: Mode) async throws {
        guard mode != .dropMessages || !self.server.isEncrypted else {
            throw ChildProcess.Failure(description: "messages cannot be recognized on an encrypted connection")
        }
        try await self.loop.flatSubmit { self.core.value.switchTo(mode) }.get()
    }

    /// Closes all connections immediately. New ones are accepted.
    public func closeConnections() async throws {
        try await self.loop.flatSubmit { self.core.value.closeConnections() }.get()
    }

    // MARK: Counters

    /// Number of connected clients.
    public var connections: Int { self.counters.read { $0.connections } }
    /// Number of client connections that were accepted so far.
    public var accepted: Int { self.counters.read { $0.accepted } }
    /// Number of messages that were dropped so far.
    public var dropped: Int { self.counters.read { $0.dropped } }

    public func waitUntilAccepted(_ count: Int, within timeout: Duration = .seconds(20)) async throws {
        try await self.counters.wait(for: "\(count) accepted connections of the proxy", within: timeout) {
            $0.accepted >= count ? () : nil
        }
    }

    public func waitUntilDropped(_ count: Int, within timeout: Duration = .seconds(20)) async throws {
        try await self.counters.wait(for: "\(count) dropped messages", within: timeout) { $0.dropped >= count ? () : nil }
    }
}
