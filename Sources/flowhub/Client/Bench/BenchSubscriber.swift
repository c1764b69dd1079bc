import NIOCore
import NIOPosix

/// One event stream of a benchmark: sends the request, checks the status line, and finds the time stamps in the events.
///
/// Confined to its event loop.
final class BenchSubscriber: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    /// The benchmark that a subscriber reports to.
    protocol Owner: AnyObject {
        /// The hub has answered the request for the stream with status 200.
        func subscriberReady()
        /// The hub has answered with another status than 200. `answer`: the status line of the response.
        func subscriberRejected(_ answer: String)
        /// The subscriber has read an event. `stamp` and `now`: times of publication and of reading, in nanoseconds.
        func subscriberRead(_ stamp: UInt64, now: UInt64)
        /// The subscriber has processed all bytes that had arrived. `now`: this time, in nanoseconds of the monotonic clock.
        func subscriberReadAll(now: UInt64)
        /// The stream has ended. `flow`: the number of its flow; `wasReady`: whether ``subscriberReady()`` was called before.
        func subscriberClosed(flow: Int, wasReady: Bool)
    }

    private let flow: Int
    private let request: ByteBuffer
    private weak var owner: (any Owner)?
    private var scanner = StampScanner()
    /// The start of the response, until the status is checked.
    private var head: [UInt8] = []
    private var isReady = false
    /// The last bytes of the response, the newest one lowest.
    private var lastBytes: UInt64 = 0

    /// `CRLF 0 CRLF CRLF`, with which a chunked response ends. Events have no CR.
    private static let end: UInt64 = 0x0D_0A30_0D0A_0D0A

    /// Length of `HTTP/1.1 200`.
    private static let headBytes = 12

    init(target: BenchTarget, flow: Int, owner: any Owner) {
        var text = "GET \(target.hub.path)/v1/flows/\(target.flow(flow))/events HTTP/1.1\r\n"
        text += "Host: \(target.hub.authority)\r\nUser-Agent: flowhub-bench\r\nAccept: text/event-stream\r\n"
        if let authorization = target.authorization { text += "Authorization: \(authorization)\r\n" }
        self.request = ByteBuffer(string: text + "\r\n")
        self.owner = owner
        self.flow = flow
    }

    /// Sends the request for the stream.
    func channelActive(context: ChannelHandlerContext) {
        context.writeAndFlush(self.wrapOutboundOut(self.request), promise: nil)
    }

    /// Checks the status of the response, and reports each event by its time stamp.
    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let buffer = self.unwrapInboundIn(data)
        if !self.isReady {
            self.head.append(contentsOf: buffer.readableBytesView.prefix(512 - self.head.count))
            guard self.head.count >= Self.headBytes else { return }
            guard self.head[9..<12].elementsEqual("200".utf8) else {
                let line = String(decoding: self.head.prefix { $0 != UInt8(ascii: "\r") }, as: UTF8.self)
                self.owner?.subscriberRejected(line)
                return context.close(promise: nil)
            }
            self.isReady = true
            self.head = []
            self.owner?.subscriberReady()
        }
        let now = NIODeadline.now().uptimeNanoseconds
        self.scanner.scan(buffer.readableBytesUInt8Span) { self.owner?.subscriberRead($0, now: now) }
        for byte in buffer.readableBytesView.suffix(8) { self.lastBytes = self.lastBytes << 8 | UInt64(byte) }
        // The hub keeps the connection after the end of a stream, for a further request.
        if self.lastBytes & 0xFF_FFFF_FFFF_FFFF == Self.end { context.close(promise: nil) }
    }

    /// Reports that all bytes that had arrived were processed.
    func channelReadComplete(context: ChannelHandlerContext) {
        self.owner?.subscriberReadAll(now: NIODeadline.now().uptimeNanoseconds)
    }

    /// Reports that the stream has ended.
    func channelInactive(context: ChannelHandlerContext) { self.owner?.subscriberClosed(flow: self.flow, wasReady: self.isReady) }

    /// Closes the connection; ``channelInactive(context:)`` reports that.
    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}
