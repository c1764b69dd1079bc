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
    private let switchboard: RedisProxyCore
    private var splitter: RESPSplitter?
    private var context: ChannelHandlerContext?
    private var partner: RedisProxyConnection?
    /// Whether the switchboard connects it with the server, or has.
    private var hasAsked = false
    private var wantsRead = false
    private var isClosed = false
    /// What came and could not be passed on yet.
    private var held = ByteBuffer()

    init(of end: End, _ switchboard: RedisProxyCore, splitter: RESPSplitter? = nil) {
        self.end = end
        self.switchboard = switchboard
        self.splitter = splitter
    }

    private var isFrozen: Bool { self.switchboard.mode == .freeze }

    // MARK: What the switchboard says

    func join(_ server: RedisProxyConnection) {
        self.partner = server
        server.partner = self
        self.goOn()
        server.goOn()
    }

    /// There is no server to join. In the frost nobody can know, and so it is tried again later.
    func couldNotJoin() {
        if self.isFrozen { self.hasAsked = false } else { self.partnerEnded() }
    }

    func thaw() { self.goOn() }

    /// Closes it now, and its partner hears nothing of it.
    func cut() -> EventLoopFuture<Void> {
        self.partner = nil
        self.held.clear()
        self.switchboard.ended(self)
        guard let context = self.context, !self.isClosed else { return self.switchboard.done }
        context.close(promise: nil)
        return context.channel.closeFuture
    }

    // MARK: Passing on

    private func goOn() {
        guard !self.isFrozen else { return }
        if self.end == .client, self.partner == nil, !self.hasAsked, !self.isClosed {
            self.hasAsked = true
            self.switchboard.connect(self)
        }
        guard let partner = self.partner else {
            if self.isClosed { self.switchboard.ended(self) }
            return
        }
        if self.held.readableBytes > 0 {
            let bytes = self.held
            self.held = ByteBuffer()
            self.pass(bytes, to: partner)
        }
        if self.isClosed {
            self.partner = nil
            self.switchboard.ended(self)
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
            while let piece = try self.splitter?.next() {
                if piece.isMessage, self.switchboard.mode == .swallowMessages {
                    self.switchboard.swallowed()
                } else {
                    all.writeImmutableBuffer(piece.bytes)
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
        guard let context = self.context, !self.isClosed else { return self.switchboard.ended(self) }
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
        self.switchboard.opened(self)
        self.goOn()
    }

    func read(context: ChannelHandlerContext) {
        self.wantsRead = true
        self.readIfAllowed()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        self.held.writeImmutableBuffer(self.unwrapInboundIn(data))
        self.goOn()
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        if context.channel.isWritable { self.partner?.readIfAllowed() }
    }

    func channelInactive(context: ChannelHandlerContext) {
        self.isClosed = true
        self.switchboard.closed(self)
        self.goOn()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}
