import NIOCore

/// One of the two connections that a ``RedisProxy`` joins. It reads only what it can forward, so that a slow or frozen peer
/// causes backpressure at the other one.
final class RedisProxyConnection: ChannelDuplexHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    /// The peer of the connection.
    enum End {
        case client
        case server
    }

    let end: End
    private let core: RedisProxyCore
    private var splitter: RESPSplitter?
    private var context: ChannelHandlerContext?
    private var partner: RedisProxyConnection?
    /// Whether a connection to the server was requested.
    private var hasRequestedServer = false
    private var wantsRead = false
    private var isClosed = false
    /// Received bytes that could not be forwarded yet.
    private var buffered = ByteBuffer()

    init(of end: End, _ core: RedisProxyCore, splitter: RESPSplitter? = nil) {
        self.end = end
        self.core = core
        self.splitter = splitter
    }

    private var isFrozen: Bool { self.core.mode == .freeze }

    // MARK: Calls from the core

    func join(_ server: RedisProxyConnection) {
        self.partner = server
        server.partner = self
        self.forward()
        server.forward()
    }

    /// The connection to the server failed. A frozen proxy must not reveal that: the attempt is repeated after the mode ends.
    func couldNotJoin() {
        if self.isFrozen { self.hasRequestedServer = false } else { self.partnerEnded() }
    }

    func resume() { self.forward() }

    /// Closes the connection immediately and leaves its partner open.
    func closeNow() -> EventLoopFuture<Void> {
        self.partner = nil
        self.buffered.clear()
        self.core.ended(self)
        guard let context = self.context, !self.isClosed else { return self.core.done }
        context.close(promise: nil)
        return context.channel.closeFuture
    }

    // MARK: Forwarding

    private func forward() {
        guard !self.isFrozen else { return }
        if self.end == .client, self.partner == nil, !self.hasRequestedServer, !self.isClosed {
            self.hasRequestedServer = true
            self.core.connect(self)
        }
        guard let partner = self.partner else {
            if self.isClosed { self.core.ended(self) }
            return
        }
        if self.buffered.readableBytes > 0 {
            let bytes = self.buffered
            self.buffered = ByteBuffer()
            self.forward(bytes, to: partner)
        }
        if self.isClosed {
            self.partner = nil
            self.core.ended(self)
            partner.partnerEnded()
        } else {
            self.readIfAllowed()
        }
    }

    private func forward(_ bytes: ByteBuffer, to partner: RedisProxyConnection) {
        guard self.splitter != nil else { return partner.write(bytes) }
        do {
            self.splitter?.feed(bytes)
            var all = ByteBuffer()
            while let value = try self.splitter?.next() {
                if value.isMessage, self.core.mode == .dropMessages {
                    self.core.dropped()
                } else {
                    all.writeImmutableBuffer(value.bytes)
                }
            }
            if all.readableBytes > 0 { partner.write(all) }
        } catch {
            // A Redis server always sends valid RESP. Close the connection, so that the test fails instead of missing a fault.
            self.context?.close(promise: nil)
        }
    }

    private func write(_ bytes: ByteBuffer) { self.context?.writeAndFlush(self.wrapOutboundOut(bytes), promise: nil) }

    /// Closes the connection after pending writes.
    func partnerEnded() {
        self.partner = nil
        guard let context = self.context, !self.isClosed else { return self.core.ended(self) }
        let channel = context.channel
        context.writeAndFlush(self.wrapOutboundOut(ByteBuffer())).whenComplete { _ in channel.close(promise: nil) }
    }

    private func readIfAllowed() {
        guard self.wantsRead, !self.isFrozen, let partner = self.partner, partner.context?.channel.isWritable == true else {
            return
        }
        self.wantsRead = false
        self.context?.read()
    }

    // MARK: The channel

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }
    func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

    func channelActive(context: ChannelHandlerContext) {
        self.core.opened(self)
        self.forward()
    }

    func read(context: ChannelHandlerContext) {
        self.wantsRead = true
        self.readIfAllowed()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        self.buffered.writeImmutableBuffer(self.unwrapInboundIn(data))
        self.forward()
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        if context.channel.isWritable { self.partner?.readIfAllowed() }
    }

    func channelInactive(context: ChannelHandlerContext) {
        self.isClosed = true
        self.core.closed(self)
        self.forward()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}
