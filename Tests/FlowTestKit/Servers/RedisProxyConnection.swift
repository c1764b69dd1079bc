import NIOCore

/// One of the two connections that a ``RedisProxy`` joins. It reads only what it may pass on, so that a peer feels the other's
/// slowness, or the frost.
final class RedisProxyConnection: ChannelDuplexHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    /// To whom it leads.
    enum End {
        case client
        case server
    }

    let end: End
    private let core: RedisProxyCore
    private var splitter: RESPSplitter?
    private var context: ChannelHandlerContext?
    private var partner: RedisProxyConnection?
    /// Whether the core connects it with the server, or has.
    private var hasRequestedServer = false
    private var wantsRead = false
    private var isClosed = false
    /// What came and could not be passed on yet.
    private var buffered = ByteBuffer()

    init(of end: End, _ core: RedisProxyCore, splitter: RESPSplitter? = nil) {
        self.end = end
        self.core = core
        self.splitter = splitter
    }

    private var isFrozen: Bool { self.core.mode == .freeze }

    // MARK: What the core says

    func join(_ server: RedisProxyConnection) {
        self.partner = server
        server.partner = self
        self.passOn()
        server.passOn()
    }

    /// There is no server to join. In the frost nobody can know, and so it is tried again later.
    func couldNotJoin() {
        if self.isFrozen { self.hasRequestedServer = false } else { self.partnerEnded() }
    }

    func resume() { self.passOn() }

    /// Closes it now, and its partner hears nothing of it.
    func closeNow() -> EventLoopFuture<Void> {
        self.partner = nil
        self.buffered.clear()
        self.core.ended(self)
        guard let context = self.context, !self.isClosed else { return self.core.done }
        context.close(promise: nil)
        return context.channel.closeFuture
    }

    // MARK: Passing on

    private func passOn() {
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
            self.pass(bytes, to: partner)
        }
        if self.isClosed {
            self.partner = nil
            self.core.ended(self)
            partner.partnerEnded()
        } else {
            self.readIfAllowed()
        }
    }

    private func pass(_ bytes: ByteBuffer, to partner: RedisProxyConnection) {
        guard self.splitter != nil else { return partner.write(bytes) }
        do {
            self.splitter?.feed(bytes)
            var all = ByteBuffer()
            while let value = try self.splitter?.next() {
                if value.isMessage, self.core.mode == .swallowMessages {
                    self.core.swallowed()
                } else {
                    all.writeImmutableBuffer(value.bytes)
                }
            }
            if all.readableBytes > 0 { partner.write(all) }
        } catch {
            // No Redis server says such a thing: better an end than a fault that does nothing.
            self.context?.close(promise: nil)
        }
    }

    private func write(_ bytes: ByteBuffer) { self.context?.writeAndFlush(self.wrapOutboundOut(bytes), promise: nil) }

    /// Closes it behind what was written.
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
        self.passOn()
    }

    func read(context: ChannelHandlerContext) {
        self.wantsRead = true
        self.readIfAllowed()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        self.buffered.writeImmutableBuffer(self.unwrapInboundIn(data))
        self.passOn()
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        if context.channel.isWritable { self.partner?.readIfAllowed() }
    }

    func channelInactive(context: ChannelHandlerContext) {
        self.isClosed = true
        self.core.closed(self)
        self.passOn()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}
