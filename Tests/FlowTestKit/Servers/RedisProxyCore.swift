import NIOCore
import NIOPosix

/// Listener and connections of a ``RedisProxy``. Everything runs on one event loop.
final class RedisProxyCore {
    private(set) var mode = RedisProxy.Mode.forward
    /// A future that has already succeeded.
    var done: EventLoopFuture<Void> { self.loop.makeSucceededVoidFuture() }
    private let loop: any EventLoop
    private let port: Int
    private let serverPort: Int
    private let isEncrypted: Bool
    private let counters: AsyncValue<RedisProxy.Counters>
    private var listener: (any Channel)?
    private var sides: [ObjectIdentifier: RedisProxyConnection] = [:]

    init(loop: any EventLoop, port: Int, serverPort: Int, isEncrypted: Bool, counters: AsyncValue<RedisProxy.Counters>) {
        self.loop = loop
        self.port = port
        self.serverPort = serverPort
        self.isEncrypted = isEncrypted
        self.counters = counters
    }

    func listen() -> EventLoopFuture<Void> {
        let this = NIOLoopBound(self, eventLoop: self.loop)
        return ServerBootstrap(group: self.loop)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(RedisProxyConnection(of: .client, this.value))
                }
            }
            .bind(host: "127.0.0.1", port: self.port)
            .assumeIsolated()
            .map { self.listener = $0 }
            .nonisolated()
    }

    func switchTo(_ mode: RedisProxy.Mode) -> EventLoopFuture<Void> {
        let before = self.mode
        guard mode != before else { return self.done }
        self.mode = mode
        if mode == .refuseConnections {
            let listener = self.listener
            self.listener = nil
            return (listener?.close() ?? self.done).assumeIsolated().flatMap { self.closeConnections() }
                .nonisolated()
        }
        if before == .refuseConnections { return self.listen() }
        if before == .freeze {
            for side in self.sides.values { side.resume() }
        }
        return self.done
    }

    func closeConnections() -> EventLoopFuture<Void> {
        EventLoopFuture.andAllComplete(self.sides.values.map { $0.closeNow() }, on: self.loop)
    }

    // MARK: Sides

    func opened(_ side: RedisProxyConnection) {
        self.sides[ObjectIdentifier(side)] = side
        guard side.end == .client else { return }
        self.counters.change {
            $0.connections += 1
            $0.accepted += 1
        }
        if self.mode == .refuseConnections { _ = side.closeNow() }
    }

    /// The connection is closed, and all its bytes were forwarded or dropped.
    func ended(_ side: RedisProxyConnection) { self.sides[ObjectIdentifier(side)] = nil }

    func closed(_ side: RedisProxyConnection) {
        if side.end == .client { self.counters.change { $0.connections -= 1 } }
    }

    func dropped() { self.counters.change { $0.dropped += 1 } }

    /// Opens the connection to the server for a client.
    func connect(_ client: RedisProxyConnection) {
        let splitter = self.isEncrypted ? nil : RESPSplitter()
        let server = NIOLoopBound(RedisProxyConnection(of: .server, self, splitter: splitter), eventLoop: self.loop)
        ClientBootstrap(group: self.loop)
            .channelOption(.tcpOption(.tcp_nodelay), value: 1)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(server.value) }
            }
            .connect(host: "127.0.0.1", port: self.serverPort)
            .assumeIsolated()
            .whenComplete { result in
                switch result {
                case .success: client.join(server.value)
                case .failure: client.couldNotJoin()
                }
            }
    }
}
