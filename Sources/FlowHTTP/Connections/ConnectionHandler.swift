import DequeModule
import FlowCore
import HTTPTypes
import Hummingbird
import NIOCore
import NIOHTTP1
import NIOHTTPTypes

/// One connection: ordinary requests one after the other, until a request for an event stream takes it over.
///
/// Ordinary requests are read whole (their size is bounded), answered by Hummingbird's router in a task on this event
/// loop, and written back in order. An event stream needs no task: its head is answered here, and from then on this
/// handler is the stream's ``StreamOutput``.
///
/// `ConnectionHandler+Requests.swift` is the way of ordinary requests, `ConnectionHandler+Streams.swift` that of event streams.
///
/// States: *idle* → *reading* → *responding* → *idle* …; *idle* → *admitting* → *streaming*; every state → *refused*, where
/// the last word is written and the rest is read and thrown away, so that it arrives; every state → *closed*.
final class ConnectionHandler: ChannelDuplexHandler {
    typealias InboundIn = HTTPRequestPart
    typealias OutboundIn = HTTPResponsePart
    typealias OutboundOut = HTTPResponsePart

    enum State {
        case idle
        case reading(HTTPRequest, ByteBuffer)
        case responding(keepAlive: Bool)
        /// The token of a stream's head is being verified.
        case admitting
        case streaming(EventStream)
        case refused
        case closed
    }

    let loop: LoopContext
    let guardian: HeadGuard
    let remote: String
    var httpHandlers: [any RemovableChannelHandler]
    var state = State.idle
    private(set) var context: ChannelHandlerContext?
    /// What came in while a request was being answered.
    var pipelined = Deque<HTTPRequestPart>()
    var isReadHeld = false
    var deadline: NIODeadline
    private(set) var isQuiescing = false
    var hasLeftHTTP = false
    var closesAfterDecline = false
    private(set) var peerHasFinished = false
    /// The channel's own answer takes a detour through locks and existentials, and every delivery asks. The channel tells
    /// each change while it happens.
    private(set) var isWritable = true

    /// Parts that wait behind a request before the socket is left alone.
    private static let maximumPipelined = 256

    /// - Parameter httpHandlers: the handlers of HTTP/1.1 between the socket and this one.
    init(loop: LoopContext, guardian: HeadGuard, httpHandlers: [any RemovableChannelHandler], remote: String) {
        self.httpHandlers = httpHandlers
        self.loop = loop
        self.guardian = guardian
        self.remote = remote
        self.deadline = .now() + .seconds(Int64(loop.configuration.headTimeoutSeconds))
    }

    // MARK: Channel events

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        self.loop.opened(self)
    }

    func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        // Behind the head of a stream the HTTP handlers are gone: what comes is bytes, and nobody wants them.
        if case .streaming = self.state { return }
        if self.hasLeftHTTP { return }
        self.take(self.unwrapInboundIn(data))
    }

    func take(_ part: HTTPRequestPart) {
        switch (self.state, part) {
        case (.idle, .head(let head)):
            self.begin(head)
        case (.reading(let head, var body), .body(let bytes)):
            // Taken out of the state first, so that appending does not copy.
            self.state = .idle
            if body.readableBytes + bytes.readableBytes > self.loop.configuration.maximumBodyBytes {
                self.refuse(.bodyTooLarge(self.loop.configuration.maximumBodyBytes))
                return
            }
            if body.readableBytes == 0 { body = bytes } else { body.writeImmutableBuffer(bytes) }
            self.state = .reading(head, body)
        case (.reading(let head, let body), .end):
            self.respond(to: head, body: body)
        case (.responding, _), (.admitting, _):
            self.pipelined.append(part)
            self.loop.shard.backlog += 1
        case (.idle, _), (.reading, .head), (.streaming, _), (.refused, _), (.closed, _):
            // The rest of a body that was refused, or a request behind an event stream: nobody will answer it.
            break
        }
    }

    func read(context: ChannelHandlerContext) {
        if self.pipelined.count >= Self.maximumPipelined {
            self.isReadHeld = true
        } else {
            context.read()
        }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        self.isWritable = context.channel.isWritable
        if case .streaming(let stream) = self.state { stream.writabilityChanged() }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        guard case ChannelEvent.inputClosed = event else { return }
        self.peerHasFinished = true
        switch self.state {
        case .responding, .admitting: break
        case .idle, .reading, .streaming, .refused, .closed: context.close(promise: nil)
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        let state = self.state
        self.becomeClosed()
        if case .streaming(let stream) = state { stream.disconnected() }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        switch self.state {
        case .idle, .reading:
            if let error = error as? HeadGuard.HeadTooLarge {
                self.refuse(
                    error.isRequestLine ? .uriTooLong(self.loop.configuration) : .headersTooLarge(self.loop.configuration))
            } else if let error = error as? HTTPParserError {
                let configuration = self.loop.configuration
                let isTarget = self.guardian.lineLength > configuration.maximumURIBytes
                let overflow: HTTPProblem = isTarget ? .uriTooLong(configuration) : .headersTooLarge(configuration)
                self.refuse(error == .headerOverflow ? overflow : .malformed)
            } else if let error = error as? HeadCheck.Refusal {
                self.refuse(error == .host ? .badHost : .unknownCoding)
            } else if error is IOError {
                context.close(promise: nil)
            } else {
                // The codec could not make a request of what the decoder read.
                self.refuse(.malformed)
            }
        case .responding:
            // What follows the request is no HTTP: it is answered, and then the connection ends.
            self.state = .responding(keepAlive: false)
        case .admitting, .streaming, .refused, .closed:
            context.close(promise: nil)
        }
    }

    // MARK: Refusals

    /// Answers without having read the whole request. What is left of it is read and thrown away for a while, since
    /// closing at once would reset the connection and could take the answer with it.
    func refuse(_ problem: HTTPProblem) {
        guard let context = self.context else { return }
        self.loop.requests.observe(route: "refused", status: problem.status.code, took: .zero)
        self.state = .refused
        self.guardian.awaitsHead = false
        self.dropPipelined()
        var head = problem.response.head
        head.headerFields[.connection] = "close"
        head.headerFields[.date] = self.loop.httpDate
        context.write(self.wrapOutboundOut(.head(head)), promise: nil)
        context.write(self.wrapOutboundOut(.body(ByteBuffer(bytes: problem.document.bytes))), promise: nil)
        context.writeAndFlush(self.wrapOutboundOut(.end(nil)), promise: nil)
        self.endPolitely()
    }

    /// Closes the sending side and gives the peer some seconds to close its own.
    func endPolitely() {
        guard let context = self.context else { return }
        // The last write may have found the connection gone, and `channelInactive` came before it returned.
        if case .closed = self.state { return }
        self.state = .refused
        self.dropPipelined()
        self.deadline = .now() + .seconds(3)
        self.loop.opened(self)
        context.close(mode: .output, promise: nil)
        if self.peerHasFinished { context.close(promise: nil) }
    }

    private func becomeClosed() {
        self.dropPipelined()
        self.state = .closed
        self.loop.closed(self)
    }

    // MARK: Time

    /// Closes what has taken too long.
    func checkTime(_ now: NIODeadline) {
        guard now >= self.deadline, let context = self.context else { return }
        switch self.state {
        case .idle:
            if self.guardian.hasBegun { self.refuse(.tooSlow) } else { context.close(promise: nil) }
        case .reading: self.refuse(.tooSlow)
        case .refused: context.close(promise: nil)
        case .responding, .admitting, .streaming, .closed: break
        }
    }

    var isBusy: Bool {
        switch self.state {
        case .reading, .responding, .admitting: true
        case .idle, .streaming, .refused, .closed: false
        }
    }

    func quiesce() {
        self.isQuiescing = true
        if case .idle = self.state, !self.guardian.hasBegun { self.context?.close(promise: nil) }
    }
}
