import NIOCore

/// Parses the bytes of a connection into replies. Confined to the event loop of the connection.
final class LinkHandler: ChannelInboundHandler {
    enum Event {
        case value(RESPValue)
        case malformed(String)
        case failed
        case ended
    }

    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let reader: RESPReader
    private let onEvent: (Event) -> Void
    private var hasEnded = false

    init(maximumReply: Int, onEvent: @escaping (Event) -> Void) {
        self.reader = RESPReader(maximumReply: maximumReply)
        self.onEvent = onEvent
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !self.hasEnded else { return }
        do throws(RESPReader.Malformed) {
            try self.reader.feed(self.unwrapInboundIn(data))
            while let value = try self.reader.next() { self.onEvent(.value(value)) }
        } catch {
            self.end(.malformed(error.description))
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { self.end(.failed) }

    func channelInactive(context: ChannelHandlerContext) { self.end(.ended) }

    private func end(_ event: Event) {
        guard !self.hasEnded else { return }
        self.hasEnded = true
        self.onEvent(event)
    }
}
