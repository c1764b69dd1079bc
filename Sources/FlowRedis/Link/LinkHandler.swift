import NIOCore

/// Parses the bytes of a connection into replies. Confined to the event loop of the connection.
final class LinkHandler: ChannelInboundHandler {
    enum Event {
        /// A complete reply or message.
        case value(RESPValue)
        /// The bytes are not a valid reply, for this reason. No further event follows.
        case malformed(String)
        /// The socket or TLS failed. No further event follows.
        case failed
        /// The connection was closed. No further event follows.
        case ended
    }

    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let reader: RESPReader
    private let onEvent: (Event) -> Void
    private var hasEnded = false

    /// - Parameter maximumReply: maximum bytes of one reply or message.
    init(maximumReply: Int, onEvent: @escaping (Event) -> Void) {
        self.reader = RESPReader(maximumReply: maximumReply)
        self.onEvent = onEvent
    }

    /// Parses received bytes and reports the complete replies.
    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !self.hasEnded else { return }
        do throws(RESPReader.Malformed) {
            try self.reader.feed(self.unwrapInboundIn(data))
            while let value = try self.reader.next() { self.onEvent(.value(value)) }
        } catch {
            self.end(.malformed(error.description))
        }
    }

    /// Reports a failure of the socket or of TLS.
    func errorCaught(context: ChannelHandlerContext, error: any Error) { self.end(.failed) }

    /// Reports that the connection was closed.
    func channelInactive(context: ChannelHandlerContext) { self.end(.ended) }

    /// Reports the final event of the connection. Only the first call counts.
    private func end(_ event: Event) {
        guard !self.hasEnded else { return }
        self.hasEnded = true
        self.onEvent(event)
    }
}
