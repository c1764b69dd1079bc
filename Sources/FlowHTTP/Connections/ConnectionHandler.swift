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
/// loop, and written back in order. An import is answered while its body comes in. An event stream needs no task: its head is answered here, and from then on this
/// handler is the stream's ``StreamOutput``.
///
/// `ConnectionHandler+Requests.swift` is the way of ordinary requests, `ConnectionHandler+Streams.swift` that of event streams.
///
/// States: *idle* → *reading* → *responding* → *idle* …; *idle* → *receiving* → *responding* …; *responding* → *flushing* → *idle* where the peer is slow to take its
/// answer; *idle* → *admitting* → *streaming*; every state → *lingering close*, where the last word is written and the rest is read and
/// thrown away, so that it arrives; every state → *closed*.
final class ConnectionHandler: ChannelDuplexHandler {
    typealias InboundIn = HTTPRequestPart
    typealias OutboundIn = HTTPResponsePart
    typealias OutboundOut = HTTPResponsePart

    enum State {
        case idle
        case reading(HTTPRequest, ByteBuffer)
        /// The request is being answered while its body comes in.
        case receiving(keepAlive: Bool, RequestBodyStream)
        case responding(keepAlive: Bool)
        /// The answer waits for the peer to take it. No further request is begun until then: what is answered to a peer that does
        /// not read would gather without end.
        case flushing
        /// The token of a stream's head is being verified.
        case admitting
        case streaming(EventStream)
        case lingeringClose
        case closed
    }

    let loop: EventLoopContext
    let headLimiter: RequestHeadLimiter
    let remote: String
    var httpHandlers: [any RemovableChannelHandler]
    var state = State.idle
    private(set) var context: ChannelHandlerContext?
    /// What came in while a request was being answered.
    var pipelined = Deque<HTTPRequestPart>()
    var isReadPaused = false
    /// As many of them as the loop knows to be waiting for their turn.
    private var countedPendingParts = 0
    var deadline: NIODeadline
    /// What the peer had not taken when the deadline was set.
    private var unsentBytes = 0
    private(set) var isQuiescing = false
    /// The answer came before the body's end; the rest of it is thrown away.
    var dropsBody = false
    /// The task that writes an answer, while the peer has to take some of it first.
    var writer: CheckedContinuation<Void, any Error>?
    var hasRemovedHTTPHandlers = false
    var closesAfterRejection = false
    private(set) var inputClosed = false
    /// The channel's own answer takes a detour through locks and existentials, and every delivery asks. The channel tells
    /// each change while it happens.
    private(set) var isWritable = true

    /// Parts that wait behind a request before the socket is left alone.
    private static let maximumPipelined = 256

    /// - Parameter httpHandlers: the handlers of HTTP/1.1 between the socket and this one.
    init(loop: EventLoopContext, headLimiter: RequestHeadLimiter, httpHandlers: [any RemovableChannelHandler], remote: String) {
        self.httpHandlers = httpHandlers
        self.loop = loop
        self.headLimiter = headLimiter
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
        if self.hasRemovedHTTPHandlers { return }
        self.handle(self.unwrapInboundIn(data))
    }

    func handle(_ part: HTTPRequestPart) {
        switch (self.state, part) {
        case (.idle, .head(let head)):
            self.handleHead(head)
        case (.reading(let head, var body), .body(let bytes)):
            // Taken out of the state first, so that appending does not copy.
            self.state = .idle
            if body.readableBytes + bytes.readableBytes > self.loop.configuration.maximumBodyBytes {
                self.rejectAndClose(.bodyTooLarge(self.loop.configuration.maximumBodyBytes))
                return
            }
            if body.readableBytes == 0 { body = bytes } else { body.writeImmutableBuffer(bytes) }
            self.state = .reading(head, body)
        case (.reading(let head, let body), .end):
            self.respond(to: head, body: .init(buffer: body), keepAlive: !self.closesAfterResponse(head))
        case (.receiving(_, let bodyStream), .body(let bytes)):
            bodyStream.append(bytes)
            self.deadline = .now() + .seconds(Int64(self.loop.configuration.bodyTimeoutSeconds))
        case (.receiving(let keepAlive, let bodyStream), .end):
            self.state = .responding(keepAlive: keepAlive)
            self.deadline = .distantFuture
            bodyStream.finish()
        case (.responding, _) where self.dropsBody:
            break
        case (.responding, _), (.flushing, _), (.admitting, _):
            self.pipelined.append(part)
            self.countPendingParts()
        case (.idle, _), (.reading, .head), (.receiving, .head), (.streaming, _), (.lingeringClose, _), (.closed, _):
            // The rest of a body that was refused, or a request behind an event stream: nobody will answer it.
            break
        }
    }

    func read(context: ChannelHandlerContext) {
        if self.pipelined.count >= Self.maximumPipelined || self.isFlushing || self.isBodyFull {
            self.isReadPaused = true
        } else {
            context.read()
        }
    }

    func resumeReading() {
        guard self.isReadPaused else { return }
        self.isReadPaused = false
        self.context?.read()
    }

    private var isBodyFull: Bool {
        if case .receiving(_, let bodyStream) = self.state { bodyStream.isFull } else { false }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        self.isWritable = context.channel.isWritable
        if self.isWritable { self.resumeWriter(nil) }
        switch self.state {
        case .streaming(let stream): stream.writabilityChanged()
        case .flushing: if self.isWritable { self.responseFlushed() }
        // The peer has the last word; now it may close.
        case .lingeringClose: if self.isWritable { self.deadline = min(self.deadline, .now() + Self.lingeringCloseTimeout) }
        case .idle, .reading, .receiving, .responding, .admitting, .closed: break
        }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        guard case ChannelEvent.inputClosed = event else { return }
        self.inputClosed = true
        switch self.state {
        case .responding, .flushing, .admitting: break
        case .idle, .reading, .receiving, .streaming, .lingeringClose, .closed: context.close(promise: nil)
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        let state = self.state
        self.becomeClosed()
        self.resumeWriter(RequestBodyStream.Disconnected())
        if case .receiving(_, let bodyStream) = state { bodyStream.fail(RequestBodyStream.Disconnected()) }
        if case .streaming(let stream) = state { stream.disconnected() }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        switch self.state {
        case .idle, .reading:
            if let error = error as? RequestHeadLimiter.HeadTooLarge {
                self.rejectAndClose(
                    error.isRequestLine ? .uriTooLong(self.loop.configuration) : .headersTooLarge(self.loop.configuration))
            } else if let error = error as? HTTPParserError {
                let configuration = self.loop.configuration
                let isTarget = self.headLimiter.lineLength > configuration.maximumURIBytes
                let overflow: HTTPProblem = isTarget ? .uriTooLong(configuration) : .headersTooLarge(configuration)
                self.rejectAndClose(error == .headerOverflow ? overflow : .malformed)
            } else if let error = error as? RequestHeadValidator.Rejection {
                self.rejectAndClose(error == .host ? .badHost : .unknownCoding)
            } else if error is IOError {
                context.close(promise: nil)
            } else {
                // The codec could not make a request of what the decoder read.
                self.rejectAndClose(.malformed)
            }
        case .receiving(_, let bodyStream):
            self.dropBody()
            bodyStream.fail(HTTPProblem.malformed)
        case .responding:
            // What follows the request is no HTTP: it is answered, and then the connection ends.
            self.state = .responding(keepAlive: false)
        case .flushing:
            self.lingeringClose(timeout: self.writeTimeout)
        case .admitting, .streaming, .lingeringClose, .closed:
            context.close(promise: nil)
        }
    }

    // MARK: Rejections

    /// Answers without having read the whole request. What is left of it is read and thrown away for a while, since
    /// closing at once would reset the connection and could take the answer with it.
    func rejectAndClose(_ problem: HTTPProblem) {
        guard let context = self.context else { return }
        self.loop.requests.observe(route: "refused", status: problem.status.code, duration: .zero)
        self.state = .lingeringClose
        self.headLimiter.awaitsHead = false
        self.discardPipelined()
        var head = problem.response.head
        head.headerFields[.connection] = "close"
        head.headerFields[.date] = self.loop.httpDate
        context.write(self.wrapOutboundOut(.head(head)), promise: nil)
        context.write(self.wrapOutboundOut(.body(ByteBuffer(bytes: problem.document.bytes))), promise: nil)
        context.writeAndFlush(self.wrapOutboundOut(.end(nil)), promise: nil)
        self.lingeringClose()
    }

    static let lingeringCloseTimeout = TimeAmount.seconds(3)
    var writeTimeout: TimeAmount { .seconds(Int64(self.loop.configuration.answerTimeoutSeconds)) }

    /// Closes the sending side and gives the peer some seconds to close its own.
    func lingeringClose(timeout time: TimeAmount = ConnectionHandler.lingeringCloseTimeout) {
        guard let context = self.context else { return }
        // The last write may have found the connection gone, and `channelInactive` came before it returned.
        if case .closed = self.state { return }
        self.state = .lingeringClose
        self.discardPipelined()
        self.startWriteTimeout(time)
        self.loop.opened(self)
        context.close(mode: .output, promise: nil)
        if self.inputClosed {
            context.close(promise: nil)
        } else {
            self.resumeReading()
        }
    }

    private func becomeClosed() {
        self.discardPipelined()
        self.state = .closed
        self.loop.closed(self)
    }

    // MARK: Time

    /// Waits so long for the peer to take what was written to it.
    func startWriteTimeout(_ time: TimeAmount) {
        self.unsentBytes = self.queuedBytes
        self.deadline = .now() + time
    }

    /// Closes what has taken too long.
    func checkDeadline(_ now: NIODeadline) {
        guard now >= self.deadline, let context = self.context else { return }
        switch self.state {
        case .flushing:
            // Who takes some of it is slow; who takes nothing is gone or means harm.
            if self.queuedBytes < self.unsentBytes {
                self.startWriteTimeout(self.writeTimeout)
            } else {
                context.close(promise: nil)
            }
        case .idle:
            if self.headLimiter.hasReceivedBytes { self.rejectAndClose(.tooSlow) } else { context.close(promise: nil) }
        case .reading: self.rejectAndClose(.tooSlow)
        case .receiving(_, let bodyStream):
            // While it is full, the peer waits for the hub, and has all its time once there is room again.
            guard !bodyStream.isFull else {
                self.deadline = now + .seconds(Int64(self.loop.configuration.bodyTimeoutSeconds))
                return
            }
            self.dropBody()
            bodyStream.fail(HTTPProblem.tooSlow)
        case .responding:
            guard self.writer != nil else { return }
            if self.queuedBytes < self.unsentBytes {
                self.startWriteTimeout(self.writeTimeout)
            } else {
                context.close(promise: nil)
            }
        case .lingeringClose: context.close(promise: nil)
        case .admitting, .streaming, .closed: break
        }
    }

    var isBusy: Bool {
        switch self.state {
        case .reading, .receiving, .responding, .flushing, .admitting: true
        case .idle, .streaming, .lingeringClose, .closed: false
        }
    }

    var isFlushing: Bool {
        if case .flushing = self.state { true } else { false }
    }

    /// Tells the loop how many parts wait here for their turn. Those behind an answer that nobody takes do not: live events are
    /// not held back for them.
    func countPendingParts() {
        let count = self.isFlushing ? 0 : self.pipelined.count
        self.loop.shard.pendingRequestParts += count - self.countedPendingParts
        self.countedPendingParts = count
    }

    func closeNow() { self.context?.close(promise: nil) }

    func quiesce() {
        self.isQuiescing = true
        if case .idle = self.state, !self.headLimiter.hasReceivedBytes { self.context?.close(promise: nil) }
    }
}
