public import NIOCore
import NIOPosix

#if canImport(Glibc)
import Glibc
#endif

/// A TCP connection to 127.0.0.1 without a protocol. Closures receive its bytes and its end.
public final class WireConnection: Sendable {
    public struct Options: Sendable {
        /// Whether the connection reads from the start.
        public var reads = true
        /// Whether to use a small receive buffer and segment size (`SO_RCVBUF`, `TCP_MAXSEG`), which also keep the sender's
        /// buffer small. Otherwise the kernel buffers megabytes on loopback for a peer that does not read.
        public var isNarrow = false

        public init(reads: Bool = true, isNarrow: Bool = false) {
            self.reads = reads
            self.isNarrow = isNarrow
        }
    }

    private let channel: any Channel

    private init(_ channel: any Channel) { self.channel = channel }

    /// - Parameters:
    ///   - received: called on the connection's event loop with received bytes.
    ///   - closed: called once, on the event loop, with the error that ended the connection, if any.
    public static func open(
        port: Int, options: Options = .init(), received: @escaping @Sendable (ByteBuffer) -> Void,
        closed: @escaping @Sendable ((any Error)?) -> Void
    ) async throws -> WireConnection {
        var bootstrap = ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .connectTimeout(.seconds(10))
            .channelOption(.tcpOption(.tcp_nodelay), value: 1)
            .channelOption(.autoRead, value: options.reads)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(WireHandler(received: received, closed: closed))
                }
            }
        if options.isNarrow {
            bootstrap =
                bootstrap
                .channelOption(.socketOption(.so_rcvbuf), value: 2_304)
                .channelOption(.tcpOption(.init(rawValue: TCP_MAXSEG)), value: 536)
        }
        return WireConnection(try await bootstrap.connect(host: "127.0.0.1", port: port).get())
    }

    public func write(_ bytes: some Sequence<UInt8> & Sendable) async throws {
        try await self.channel.writeAndFlush(ByteBuffer(bytes: bytes)).get()
    }

    /// Half-closes the connection: nothing more is sent, but bytes are still received. Does nothing if the other side has
    /// already closed the connection.
    public func closeOutput() async throws {
        do { try await self.channel.close(mode: .output).get() } catch { if self.channel.isActive { throw error } }
    }

    /// Closes the connection immediately. If received bytes were not read, the kernel sends a reset.
    public func close() { self.channel.close(promise: nil) }

    /// Closes the connection with a TCP reset, as a machine does after it has lost its network for a time.
    public func reset() {
        guard let socket = self.channel as? any SocketOptionProvider else { return self.close() }
        socket.setSoLinger(linger(l_onoff: 1, l_linger: 0)).whenComplete { _ in self.channel.close(promise: nil) }
    }

    // MARK: Reading

    public func stopReading() async throws { try await self.channel.setOption(.autoRead, value: false).get() }

    /// Reads without a limit from now on.
    public func read() async throws {
        try await self.channel.setOption(.recvAllocator, value: AdaptiveRecvByteBufferAllocator()).get()
        try await self.channel.setOption(.maxMessagesPerRead, value: 4).get()
        try await self.channel.setOption(.autoRead, value: true).get()
    }

    /// Reads up to `bytes` bytes per interval, until the connection ends.
    public func trickle(bytes: Int, every interval: TimeAmount) async throws {
        try await self.stopReading()
        try await self.channel.setOption(.recvAllocator, value: FixedSizeRecvByteBufferAllocator(capacity: bytes)).get()
        try await self.channel.setOption(.maxMessagesPerRead, value: 1).get()
        let channel = self.channel
        channel.eventLoop.scheduleRepeatedTask(initialDelay: .zero, delay: interval) { task in
            if channel.isActive { channel.read() } else { task.cancel() }
        }
    }
}

private final class WireHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let received: @Sendable (ByteBuffer) -> Void
    private let closed: @Sendable ((any Error)?) -> Void
    private var failure: (any Error)?

    init(received: @escaping @Sendable (ByteBuffer) -> Void, closed: @escaping @Sendable ((any Error)?) -> Void) {
        self.received = received
        self.closed = closed
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) { self.received(self.unwrapInboundIn(data)) }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        self.failure = error
        context.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) { self.closed(self.failure) }
}
