import NIOCore
import NIOPosix

/// What stands between a hub and a ``RedisServer``, with faults that a test switches on and off.
public final class RedisProxy: Sendable {
    public enum Mode: Hashable, Sendable, CaseIterable {
        /// Everything goes on.
        case pass
        /// Everything goes on but the messages of subscriptions (`message`, `pmessage`): what the server answers, confirms
        /// and pongs still comes. A message that the proxy had not whole when the mode began is dropped, too.
        case swallowMessages
        /// Nothing goes on either way, not even an end; connections stay, and new ones are taken. What came meanwhile goes on
        /// later.
        case freeze
        /// There is nobody: all connections are closed, and new ones refused.
        case refuse
    }

    struct Counters: Sendable {
        var connections = 0
        var accepted = 0
        var swallowed = 0
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

    /// Runs a proxy for the time of the body; afterwards it is gone, with its connections.
    public static func running<Result>(
        before server: RedisServer, _ body: (RedisProxy) async throws -> Result
    ) async throws -> Result {
        let proxy = try await RedisProxy(server)
        do {
            try await proxy.loop.flatSubmit { proxy.core.value.listen() }.get()
            let result = try await body(proxy)
            try await proxy.switchTo(.refuse)
            return result
        } catch {
            try? await proxy.switchTo(.refuse)
            throw error
        }
    }

    /// The server's URL, by way of the proxy.
    public var url: String { self.server.url(port: self.port) }

    // MARK: Faults

    /// Holds for every byte that the proxy has not passed on yet when this returns.
    public func switchTo(_ mode: Mode) async throws {
        guard mode != .swallowMessages || !self.server.isEncrypted else {
            throw ChildProcess.Failure(description: "what is encrypted cannot be told apart")
        }
        try await self.loop.flatSubmit { self.core.value.switchTo(mode) }.get()
    }

    /// Closes all connections, now; new ones are taken.
    public func closeConnections() async throws {
        try await self.loop.flatSubmit { self.core.value.closeConnections() }.get()
    }

    // MARK: What happened

    /// How many clients are connected.
    public var connections: Int { self.counters.read { $0.connections } }
    /// How many clients have come so far.
    public var accepted: Int { self.counters.read { $0.accepted } }
    /// How many messages were dropped so far.
    public var swallowed: Int { self.counters.read { $0.swallowed } }

    public func waitUntilAccepted(_ count: Int, within timeout: Duration = .seconds(20)) async throws {
        try await self.counters.wait(for: "\(count) connections of the proxy", within: timeout) {
            $0.accepted >= count ? () : nil
        }
    }

    public func waitUntilSwallowed(_ count: Int, within timeout: Duration = .seconds(20)) async throws {
        try await self.counters.wait(for: "\(count) messages swallowed", within: timeout) { $0.swallowed >= count ? () : nil }
    }
}
