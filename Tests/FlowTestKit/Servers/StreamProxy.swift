import NIOCore
import NIOPosix

/// A proxy between clients and a hub. A test can cut its connections, and it can pass event streams on in the smallest pieces.
public final class StreamProxy: Sendable {
    /// How the bodies of event streams are passed on. Other responses are passed on unchanged.
    public enum Pieces: Hashable, Sendable {
        /// All bytes as they come.
        case unchanged
        /// Each byte in an HTTP chunk and a write of its own.
        case bytes
        /// The same, and each LF becomes CR LF: a chunk ends between the two.
        case bytesWithCRLF
    }

    /// Its port on 127.0.0.1.
    public let port: Int
    private let loop: any EventLoop
    private let core: NIOLoopBound<StreamProxyCore>

    private init(_ target: Int, _ pieces: Pieces) async throws {
        let loop: any EventLoop = MultiThreadedEventLoopGroup.singleton.next()
        let port = try FreePort.choose()
        self.port = port
        self.loop = loop
        self.core = try await loop.submit {
            NIOLoopBound(StreamProxyCore(loop: loop, target: target, pieces: pieces), eventLoop: loop)
        }.get()
        try await loop.flatSubmit { [core] in core.value.listen(port) }.get()
    }

    /// Runs a proxy for the duration of the body, then closes it with all its connections.
    /// - Parameter target: the hub's port.
    public static func running<Result>(
        before target: Int, pieces: Pieces = .unchanged, _ body: (StreamProxy) async throws -> Result
    ) async throws -> Result {
        let proxy = try await StreamProxy(target, pieces)
        do {
            let result = try await body(proxy)
            try await proxy.end()
            return result
        } catch {
            try? await proxy.end()
            throw error
        }
    }

    /// Closes all connections to clients and to the hub. Until ``release()``, new connections are accepted and their bytes kept.
    public func cut() async throws { try await self.loop.submit { self.core.value.cut() }.get() }

    /// Forwards the connections that were accepted since ``cut()``, and new ones.
    public func release() async throws { try await self.loop.submit { self.core.value.release() }.get() }

    private func end() async throws {
        try await self.loop.flatSubmit {
            self.core.value.cut()
            return self.core.value.stopListening()
        }.get()
    }
}

/// Listener and connections of a ``StreamProxy``. Everything runs on one event loop.
private final class StreamProxyCore {
    let pieces: StreamProxy.Pieces
    private(set) var isHolding = false
    private let loop: any EventLoop
    private let target: Int
    private var listener: (any Channel)?
    private var connections: [ObjectIdentifier: StreamProxyConnection] = [:]

    init(loop: any EventLoop, target: Int, pieces: StreamProxy.Pieces) {
        self.loop = loop
        self.target = target
        self.pieces = pieces
    }

    func listen(_ port: Int) -> EventLoopFuture<Void> {
        let this = NIOLoopBound(self, eventLoop: self.loop)
        return ServerBootstrap(group: self.loop)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(StreamProxyConnection(this.value))
                }
            }
            .bind(host: "127.0.0.1", port: port)
            .assumeIsolated()
            .map { self.listener = $0 }
            .nonisolated()
    }

    func stopListening() -> EventLoopFuture<Void> { self.listener?.close() ?? self.loop.makeSucceededVoidFuture() }

    func cut() {
        self.isHolding = true
        for connection in self.connections.values { connection.close() }
    }

    func release() {
        self.isHolding = false
        for connection in self.connections.values { connection.connect() }
    }

    func opened(_ connection: StreamProxyConnection) { self.connections[ObjectIdentifier(connection)] = connection }
    func closed(_ connection: StreamProxyConnection) { self.connections[ObjectIdentifier(connection)] = nil }

    /// Opens the connection to the hub for a client.
    func connect(_ connection: StreamProxyConnection) {
        let client = NIOLoopBound(connection, eventLoop: self.loop)
        ClientBootstrap(group: self.loop)
            .channelOption(.tcpOption(.tcp_nodelay), value: 1)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(StreamProxyUpstream(client.value))
                }
            }
            .connect(host: "127.0.0.1", port: self.target)
            .assumeIsolated()
            .whenComplete { result in
                switch result {
                case .success(let channel): connection.connected(to: channel)
                case .failure: connection.close()
                }
            }
    }
}

/// A client's connection.
private final class StreamProxyConnection: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let core: StreamProxyCore
    private var context: ChannelHandlerContext?
    private var isConnecting = false
    private var upstream: (any Channel)?
    /// Bytes of the client that the hub has not been sent yet.
    private var waiting = ByteBuffer()
    private var rewriter: StreamRewriter?

    init(_ core: StreamProxyCore) {
        self.core = core
        self.rewriter = core.pieces == .unchanged ? nil : StreamRewriter(withCRLF: core.pieces == .bytesWithCRLF)
    }

    func channelActive(context: ChannelHandlerContext) {
        self.context = context
        self.core.opened(self)
        self.connect()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var bytes = self.unwrapInboundIn(data)
        if let upstream = self.upstream { upstream.writeAndFlush(bytes, promise: nil) } else { self.waiting.writeBuffer(&bytes) }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

    func channelInactive(context: ChannelHandlerContext) {
        self.context = nil
        self.core.closed(self)
        self.upstream?.close(promise: nil)
    }

    func connect() {
        guard !self.core.isHolding, !self.isConnecting else { return }
        self.isConnecting = true
        self.core.connect(self)
    }

    func connected(to upstream: any Channel) {
        guard self.context != nil else { return upstream.close(promise: nil) }
        self.upstream = upstream
        upstream.writeAndFlush(self.waiting, promise: nil)
    }

    func received(_ bytes: ByteBuffer) {
        guard let context = self.context else { return }
        guard self.rewriter != nil else { return context.writeAndFlush(self.wrapOutboundOut(bytes), promise: nil) }
        guard let pieces = try? self.rewriter?.feed(bytes.readableBytesView) else { return self.close() }
        for piece in pieces { context.writeAndFlush(self.wrapOutboundOut(ByteBuffer(bytes: piece)), promise: nil) }
    }

    func close() {
        self.context?.close(promise: nil)
        self.upstream?.close(promise: nil)
    }
}

/// A connection to the hub.
private final class StreamProxyUpstream: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    private let client: StreamProxyConnection

    init(_ client: StreamProxyConnection) { self.client = client }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) { self.client.received(self.unwrapInboundIn(data)) }
    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
    func channelInactive(context: ChannelHandlerContext) { self.client.close() }
}

/// Encodes the responses on a connection anew, with the body of an event stream as one chunk for each byte.
private struct StreamRewriter {
    let withCRLF: Bool
    private var parser = HTTPReplyParser()
    private var hasSentHead = false

    init(withCRLF: Bool) { self.withCRLF = withCRLF }

    /// - Returns: what to write, in order.
    mutating func feed(_ bytes: some Sequence<UInt8>) throws -> [[UInt8]] {
        var pieces: [[UInt8]] = []
        try self.parser.feed(bytes)
        while let reply = self.parser.reply {
            if !self.hasSentHead {
                self.hasSentHead = true
                pieces.append(Self.head(of: reply))
            }
            let body = self.parser.takeBody()
            if reply.header("content-type")?.hasPrefix("text/event-stream") == true {
                for byte in body {
                    if byte == 0x0a, self.withCRLF { pieces.append(Self.chunk([0x0d])) }
                    pieces.append(Self.chunk([byte]))
                }
            } else if !body.isEmpty {
                pieces.append(Self.chunk(body))
            }
            guard self.parser.isComplete else { break }
            if Self.hasBody(reply) { pieces.append(Array("0\r\n\r\n".utf8)) }
            let rest = Array(self.parser.rest)
            self.parser = HTTPReplyParser()
            self.hasSentHead = false
            try self.parser.feed(rest)
        }
        return pieces
    }

    private static func hasBody(_ reply: HTTPReply) -> Bool { reply.status != 204 && reply.status != 304 }

    private static func head(of reply: HTTPReply) -> [UInt8] {
        var head = "HTTP/1.1 \(reply.status) Status\r\n"
        let own = ["connection", "content-length", "transfer-encoding"]
        for (name, value) in reply.headers where !own.contains(name.lowercased()) { head += "\(name): \(value)\r\n" }
        if Self.hasBody(reply) { head += "Transfer-Encoding: chunked\r\n" }
        return Array((head + "\r\n").utf8)
    }

    private static func chunk(_ bytes: [UInt8]) -> [UInt8] {
        Array((String(bytes.count, radix: 16) + "\r\n").utf8) + bytes + [0x0d, 0x0a]
    }
}
