import NIOCore

/// The handler next to the socket. It stops a request head that grows without end, which the decoder would gather, and
/// event streams write through its context, past the encoder of ordinary responses.
final class HeadGuard: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer

    struct HeadTooLarge: Error {
        /// Whether the request line itself has no end.
        var isRequestLine: Bool
    }

    private(set) var context: ChannelHandlerContext?
    /// Set while no request is being read: the next bytes are a head.
    var awaitsHead = true {
        didSet { if self.awaitsHead { self.gathered = 0 } }
    }
    /// Whether any byte of the awaited head has arrived.
    var hasBegun: Bool { self.gathered > 0 }
    private var gathered = 0
    private var sawLineEnd = false
    private var isShut = false
    private let limit: Int

    init(limit: Int) { self.limit = limit }

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }
    func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !self.isShut else { return }
        if self.awaitsHead {
            if self.gathered > self.limit {
                self.isShut = true
                context.fireErrorCaught(HeadTooLarge(isRequestLine: !self.sawLineEnd))
                return
            }
            let buffer = self.unwrapInboundIn(data)
            if self.gathered == 0 { self.sawLineEnd = false }
            self.gathered += buffer.readableBytes
            if !self.sawLineEnd { self.sawLineEnd = buffer.readableBytesView.contains(UInt8(ascii: "\n")) }
        }
        context.fireChannelRead(data)
    }
}
