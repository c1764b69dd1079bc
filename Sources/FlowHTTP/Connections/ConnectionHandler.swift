import DequeModule
import FlowCore
import HTTPTypes
import Hummingbird
import NIOCore
import NIOHTTP1
import NIOHTTPTypes

/// One HTTP/1.1 connection. It serves ordinary requests one after the other, until a request opens an event stream. From then
/// on it carries only the stream.
///
/// The token of an ordinary request is verified at the request's head, before a byte of its body is kept. The request is then
/// read whole (its size is bounded), and answered by Hummingbird's router in a task on this event loop. Responses are written in
/// order. An import is answered while its body arrives. An event stream needs no task: this handler writes its response head and
/// is the stream's ``StreamOutput``.
///
/// `ConnectionHandler+Access.swift` decides about request heads, `ConnectionHandler+Requests.swift` handles ordinary requests,
/// `ConnectionHandler+Budgets.swift` counts their bytes, and `ConnectionHandler+Streams.swift` handles event streams.
///
/// States: *idle* → *reading* → *responding* → *idle* …, with *verifying* before *reading* if the token is not cached; *idle* →
/// *receiving* → *responding* …; *idle* → *discarding* → *idle* for a rejected request with a small body; *responding* →
/// *flushing* → *idle* if the client is slow to read its response; *idle* → *admitting* → *streaming*; every state → *lingering
/// close*, in which the last bytes are sent, and input is read and discarded, so that the client receives those bytes; every
/// state → *closed*.
final class ConnectionHandler: ChannelDuplexHandler {
    typealias InboundIn = HTTPRequestPart
    typealias OutboundIn = HTTPResponsePart
    typealias OutboundOut = HTTPResponsePart

    enum State {
        /// Waiting for the next request head.
        case idle
        /// The token of an ordinary request is being verified.
        case verifying
        /// The body of an ordinary request is arriving; the buffer has what was read of it.
        case reading(OrdinaryRequest, ByteBuffer)
        /// The request was rejected and answered at its head; its small body is discarded. `keepAlive`: the connection stays open
        /// afterwards.
        case discarding(keepAlive: Bool)
        /// The request is being answered while its body arrives. `keepAlive`: the connection stays open after the response.
        case receiving(keepAlive: Bool, RequestBodyStream)
        /// The request was read whole and is being answered. `keepAlive`: the connection stays open after the response.
        case responding(keepAlive: Bool)
        /// The response was written and waits for the client to read it. No further request is processed until then: otherwise
        /// responses to a client that does not read would accumulate without bound.
        case flushing
        /// The token of a request for a stream is being verified.
        case admitting
        /// The connection belongs to an event stream, which is opening or open.
        case streaming(EventStream)
        /// The sending side is closed; input is discarded until the client closes its side.
        case lingeringClose
        /// The connection is closed.
        case closed
    }

    let loop: EventLoopContext
    let headLimiter: RequestHeadLimiter
    /// The IP address of the other end: the client's, or that of a proxy which does not use the PROXY protocol.
    var peer: String
    /// Whether the operations listener accepted the connection: it serves metrics and health, and no streams.
    let isOperations: Bool
    /// Whether the other end is a trusted proxy whose header fields are believed.
    let isFromTrustedProxy: Bool
    /// Whether the other end is a trusted proxy, also one that uses the PROXY protocol.
    let isBehindTrustedProxy: Bool
    /// Whether the header of the PROXY protocol states that the client used TLS.
    var usesTLSAtProxy = false
    /// Whether the request in progress is a HEAD, whose response has no body.
    var isAnsweringHead = false
    /// The id of the request in progress; empty before a request.
    var requestID = ""
    /// The access log's record of the request in progress; `nil` if it is not logged.
    var record: RequestRecord?
    var httpHandlers: [any RemovableChannelHandler]
    var state = State.idle
    private(set) var context: ChannelHandlerContext?
    /// Parts (request head, chunk of a body, or end) of further requests that arrived while a request was being answered.
    var pipelined = Deque<PipelinedPart>()
    /// The sum of the pipelined parts' bytes.
    var pipelinedBytes = 0
    /// Whether a read of the socket was requested and postponed; ``resumeReading()`` performs it.
    var isReadPaused = false
    /// Number of this connection's pipelined parts that are included in the shard's ``StreamShard/pendingRequestParts``.
    var countedPendingParts = 0
    /// When the timeout of the current state expires; see ``checkDeadline(_:)``.
    var deadline: NIODeadline
    /// The queued bytes when the write timeout was started. If there are fewer when the timeout expires, the client has read
    /// some.
    var unsentBytes = 0
    /// Whether the connection accepts no further request: see ``quiesce()``.
    var isQuiescing = false
    /// Whether the rest of the input is discarded as it arrives.
    var dropsBody = false
    /// Whether bytes that are not HTTP followed a complete request.
    private(set) var isInputBroken = false
    /// Whether the request in progress only reads, so that its response may be replaced by a problem.
    var isAnsweringRead = false
    /// Bytes of the current request body that are held in the budget of request bodies.
    var heldBodyBytes = 0
    /// Bytes of the current request body that were discarded, because no route takes the body.
    var discardedBodyBytes = 0
    /// Unsent bytes of responses that are counted in the budget of responses.
    var countedResponseBytes = 0
    /// The account of the latest request, under which its bytes are counted.
    var account = ConnectionBudgets.noAccount
    /// The principal of the import that is arriving.
    var uploader: Principal?
    /// The pace of the import that is arriving.
    var uploadPace: UploadPace?
    /// Whether the latest request was granted access.
    var isAuthenticated = false
    /// The account for which the connection counts while a request is in progress.
    var occupant: String?
    /// The principal of the request whose response is being sent; `nil` without one, or if the request changes something.
    var reader: Principal?
    /// The pace at which the client reads responses.
    var responsePace = ResponsePace()
    /// The place among the connections that may be closed to make room; `nil` while a request is in progress.
    var idlePlace: IdleConnectionList.Place?
    /// Whether the connection was accepted above the limit of connections, for health checks and metrics only.
    let isReserve: Bool
    /// The response head that is sent with the first bytes of the response body.
    var unsentHead: HTTPResponse?
    /// The task that writes a response, while it waits for the socket to become writable.
    var writer: CheckedContinuation<Void, any Error>?
    /// Whether ``removeHTTPHandlers()`` has removed the HTTP handlers, because the connection carries an event stream.
    var hasRemovedHTTPHandlers = false
    /// Whether the connection closes after an ordinary response to a request for a stream, because the client has requested the
    /// close.
    var closesAfterRejection = false
    /// Whether the client has closed its sending side.
    private(set) var inputClosed = false
    /// A copy of the channel's `isWritable`, updated with each change. Every delivery reads it, and reading the channel's
    /// property costs a lock and an existential call.
    private(set) var isWritable = true

    /// - Parameters:
    ///   - httpHandlers: the HTTP/1.1 handlers between the socket and this handler; a stream removes them.
    ///   - peer: the IP address of the other end.
    ///   - isOperations: whether the operations listener accepted the connection.
    ///   - isFromTrustedProxy: whether the other end is a trusted proxy whose header fields are believed.
    ///   - isBehindTrustedProxy: whether the other end is a trusted proxy, also one that uses the PROXY protocol.
    ///   - isReserve: whether only health checks and metrics are answered.
    init(
        loop: EventLoopContext, headLimiter: RequestHeadLimiter, httpHandlers: [any RemovableChannelHandler], peer: String,
        isOperations: Bool, isFromTrustedProxy: Bool, isBehindTrustedProxy: Bool, isReserve: Bool
    ) {
        self.httpHandlers = httpHandlers
        self.loop = loop
        self.headLimiter = headLimiter
        self.peer = peer
        self.isOperations = isOperations
        self.isFromTrustedProxy = isFromTrustedProxy
        self.isBehindTrustedProxy = isBehindTrustedProxy
        self.isReserve = isReserve
        self.deadline = .now() + .seconds(Int64(loop.configuration.headTimeoutSeconds))
    }

    // MARK: Channel events

    /// Registers the connection, so that its deadlines are checked.
    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        self.loop.opened(self)
        if self.isReserve { self.loop.mayEvictFromReserve(self) } else { self.loop.mayEvict(self) }
    }

    /// Drops the reference to the context, which is invalid from now on.
    func handlerRemoved(context: ChannelHandlerContext) {
        self.context = nil
        // NIO does not report the end of a channel that was closed before it was active.
        if case .closed = self.state {} else { self.becomeClosed() }
    }

    /// Processes one part of a request from the HTTP handlers.
    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        // Once a stream has started, the HTTP handlers are removed and input consists of raw bytes, which are ignored.
        if case .streaming = self.state { return }
        if self.hasRemovedHTTPHandlers { return }
        self.handle(self.unwrapInboundIn(data))
    }

    /// Processes one part of a request according to the state of the connection: reads it, queues it or discards it.
    func handle(_ part: HTTPRequestPart) {
        switch (self.state, part) {
        case (.idle, .head(let head)):
            self.handleHead(head)
        case (.reading(let request, var body), .body(let bytes)):
            self.record?.received(bytes.readableBytes)
            // The state has a reference to the buffer: without clearing it first, appending would copy the buffer.
            self.state = .idle
            guard self.keepBody(bytes, of: request, in: &body) else { return }
            self.state = .reading(request, body)
        case (.reading(let request, let body), .end):
            self.respond(to: request, body: .init(buffer: body), keepAlive: !self.closesAfterResponse(request.head))
        case (.discarding(let keepAlive), .end):
            self.rejectedBodyEnded(keepAlive: keepAlive)
        case (.receiving(_, let bodyStream), .body(let bytes)):
            self.record?.received(bytes.readableBytes)
            self.uploadPace?.received(bytes.readableBytes)
            bodyStream.append(bytes)
            self.deadline = .now() + .seconds(Int64(self.loop.configuration.bodyTimeoutSeconds))
        case (.receiving(let keepAlive, let bodyStream), .end):
            self.state = .responding(keepAlive: keepAlive)
            self.deadline = .distantFuture
            bodyStream.finish()
        case (.responding, _) where self.dropsBody, (.admitting, _) where self.dropsBody:
            break
        case (.responding, _), (.flushing, _), (.admitting, _), (.verifying, _):
            self.appendPipelined(part)
        case (.idle, _), (.reading, .head), (.receiving, .head), (.discarding, _), (.streaming, _), (.lingeringClose, _),
            (.closed, _):
            // The rest of a rejected body, or a further request on a connection that carries an event stream: both are
            // ignored.
            break
        }
    }

    /// Passes NIO's request to read from the socket on. Postpones the read while too much input waits to be processed, or while
    /// the client does not read its response.
    func read(context: ChannelHandlerContext) {
        if self.isPipelineFull || self.isFlushing || self.isBodyFull {
            self.isReadPaused = true
        } else {
            context.read()
        }
    }

    /// Performs a postponed read of the socket. Does nothing if no read was postponed.
    func resumeReading() {
        guard self.isReadPaused else { return }
        self.isReadPaused = false
        self.context?.read()
    }

    /// Updates ``isWritable``. If the socket has become writable, continues what waits for that: the event stream, the task
    /// that writes a response body, or the next request after a complete response.
    func channelWritabilityChanged(context: ChannelHandlerContext) {
        self.isWritable = context.channel.isWritable
        if self.isWritable {
            if self.countedResponseBytes > 0 { self.measureResponses() }
            self.resumeWriter(nil)
        }
        switch self.state {
        case .streaming(let stream): stream.writabilityChanged()
        case .flushing: if self.isWritable { self.responseFlushed() }
        // The last bytes were passed to the socket. From now on the client gets the short timeout to close.
        case .lingeringClose: if self.isWritable { self.deadline = min(self.deadline, .now() + Self.lingeringCloseTimeout) }
        case .idle, .verifying, .reading, .discarding, .receiving, .responding, .admitting, .closed: break
        }
    }

    /// Handles the half-close by the client: closes the connection unless a response is still due.
    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        guard case ChannelEvent.inputClosed = event else { return }
        self.inputClosed = true
        switch self.state {
        case .responding, .flushing, .admitting, .verifying: break
        case .idle, .reading, .discarding, .receiving, .streaming, .lingeringClose, .closed: context.close(promise: nil)
        }
    }

    /// Ends the stream or the request after the connection was closed.
    func channelInactive(context: ChannelHandlerContext) {
        let state = self.state
        self.becomeClosed()
        self.resumeWriter(RequestBodyStream.Disconnected())
        if case .receiving(_, let bodyStream) = state { bodyStream.fail(RequestBodyStream.Disconnected()) }
        if case .streaming(let stream) = state { stream.disconnected() }
    }

    /// Rejects a request that cannot be parsed. If a request is already being answered, closes the connection after the
    /// response.
    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        switch self.state {
        case .verifying where self.pipelined.contains(where: { if case .end = $0.part { true } else { false } }):
            // The request itself is complete: answer it, then close the connection.
            self.isInputBroken = true
        case .idle, .reading, .verifying:
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
                // The codec could not convert the decoded head into a request.
                self.rejectAndClose(.malformed)
            }
        case .receiving(_, let bodyStream):
            self.dropBody()
            bodyStream.fail(HTTPProblem.malformed)
        case .responding:
            // The bytes that follow the request are not HTTP: finish the response, then close the connection.
            self.state = .responding(keepAlive: false)
        case .flushing:
            self.lingeringClose(timeout: self.writeTimeout)
        case .discarding:
            self.lingeringClose()
        case .admitting, .streaming, .lingeringClose, .closed:
            context.close(promise: nil)
        }
    }

    // MARK: End

    /// Enters the state `closed` and removes the connection from those whose deadlines the loop checks.
    private func becomeClosed() {
        self.discardPipelined()
        self.releaseBody()
        self.countResponseBytes(0)
        self.state = .closed
        self.loop.closed(self)
    }
}
