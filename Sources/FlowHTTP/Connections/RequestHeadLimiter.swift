import NIOCore

/// The first handler of a connection's pipeline. It limits the size of a request head, which the HTTP decoder would buffer
/// without bound.
final class RequestHeadLimiter: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer

    /// The error that this handler reports when a request head exceeds the limit.
    struct HeadTooLarge: Error {
        /// Whether the limit was exceeded before the end of the request line, so that the target is too long.
        var isRequestLine: Bool
    }

    /// Whether the next bytes belong to a request head. Setting it to `true` resets the counts.
    var awaitsHead = true {
        didSet {
            guard self.awaitsHead else { return }
            self.headBytes = 0
            self.lineLength = 0
            self.sawLineEnd = false
        }
    }
    /// Whether any byte of the awaited head has arrived.
    var hasReceivedBytes: Bool { self.headBytes > 0 }
    /// Bytes received of the awaited head's first line.
    private(set) var lineLength = 0
    private var headBytes = 0
    private var sawLineEnd = false
    private var isDiscarding = false
    private let limit: Int

    /// - Parameter limit: maximum size of a request head in bytes.
    init(limit: Int) { self.limit = limit }

    /// Counts the bytes of an awaited request head and passes them on, until the limit is exceeded.
    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !self.isDiscarding else { return }
        if self.awaitsHead {
            if self.headBytes > self.limit {
                self.isDiscarding = true
                context.fireErrorCaught(HeadTooLarge(isRequestLine: !self.sawLineEnd))
                return
            }
            let buffer = self.unwrapInboundIn(data)
            self.headBytes += buffer.readableBytes
            if !self.sawLineEnd {
                let view = buffer.readableBytesView
                let end = view.firstIndex(of: UInt8(ascii: "\n"))
                self.sawLineEnd = end != nil
                self.lineLength += view.distance(from: view.startIndex, to: end ?? view.endIndex)
            }
        }
        context.fireChannelRead(data)
    }
}
