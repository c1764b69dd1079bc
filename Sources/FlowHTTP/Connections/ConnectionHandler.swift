import FlowCore
import HTTPTypes
import NIOCore
import NIOHTTP1

/// One HTTP/1.1 connection. It serves ordinary requests one after the other, until a request opens an event stream; after the
/// stream it serves requests again.
///
/// It carries out what its ``RequestMachine`` decides: this file passes the channel's events to the machine, and its actions on.
/// The token of an ordinary request is verified at the request's head, before a byte of its body is kept. The request is then
/// read whole (its size is bounded), and answered by Hummingbird's router in a task on this event loop. Responses are written in
/// order. An import is answered while its body arrives. An event stream needs no task: it writes to an ``HTTP1StreamTransport``.
///
/// `ConnectionHandler+Access.swift` decides about request heads, `ConnectionHandler+Requests.swift` handles ordinary requests,
/// `ConnectionHandler+Responses.swift` writes their responses, `ConnectionHandler+Budgets.swift` counts their bytes, and
/// `ConnectionHandler+Streams.swift` handles event streams.
final class ConnectionHandler: ChannelDuplexHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    /// What is done with the request in progress, beside the machine's phase.
    enum Exchange {
        case none
        /// Its body is read whole.
        case reading(BodyInProgress)
        /// Its body is processed while it arrives.
        case receiving(UploadInProgress)
        /// The event stream is opening or open.
        case streaming(EventStream)
    }

    /// A response head that may not have been written yet.
    enum UnsentHead {
        case none
        /// Not inline: a head is large, and a connection with a stream has none.
        indirect case waiting(HTTPResponse)

        var isWaiting: Bool {
            if case .waiting = self { true } else { false }
        }
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
    /// Whether the connection was accepted above the limit of connections, for health checks and metrics only.
    let isReserve: Bool

    var machine: RequestMachine
    var exchange = Exchange.none
    private(set) var context: ChannelHandlerContext?
    /// The decoder of requests, which a stream removes.
    var decoder: RequestDecoder
    var encoder = ResponseEncoder()

    /// The id of the request in progress; empty before a request.
    var requestID = ""
    /// The access log's record of the request in progress; `nil` if it is not logged.
    var record: RequestRecord?
    /// The `Origin` of the request in progress.
    var origin: String?
    /// Whether the method of the request in progress is HEAD, so that its response has no body.
    var isHead = false

    /// Bytes of the parts that wait in the machine, as counted in ``ConnectionBudgets``.
    private var countedPipelinedBytes = 0
    /// Number of the parts that wait in the machine, as counted in the shard's ``StreamShard/pendingRequestParts``.
    private var countedPendingParts = 0
    /// Whether ``processPipelined()`` is running.
    private var isProcessingPipelined = false
    /// Bytes of the current request body that are held in the budget of request bodies.
    var heldBodyBytes = 0
    /// Unsent bytes of responses that are counted in the budget of responses.
    var countedResponseBytes = 0
    /// Whether the unsent bytes are those of a stream, which end with the connection and are no response.
    var hasRestOfStream = false
    /// The account of the latest request, under which its bytes are counted.
    var account = ConnectionBudgets.noAccount
    /// Whether the latest request was granted access.
    var isAuthenticated = false
    /// The account for which the connection counts while a request is in progress.
    var occupant: String?
    /// The place among the connections that may be closed to make room; `nil` while a request is in progress.
    var idlePlace: IdleConnectionList.Place?

    /// Whether the request in progress only reads, so that its response may be replaced by a problem.
    var isAnsweringRead = false
    /// The principal of the request whose response is being sent; `nil` without one, or if the request changes something.
    var reader: Principal?
    /// The pace at which the client reads responses.
    var responsePace = ResponsePace()
    /// The response head that is sent with the first bytes of the response body.
    var unsentHead = UnsentHead.none
    /// The task that writes a response, while it waits for the socket to become writable.
    var writer: CheckedContinuation<Void, any Error>?
    /// A copy of the channel's `isWritable`, updated with each change. Every delivery reads it, and reading the channel's
    /// property costs a lock and an existential call.
    private(set) var isWritable = true

    /// - Parameters:
    ///   - decoder: the decoder of requests, which is in the pipeline between `headLimiter` and this handler.
    ///   - peer: the IP address of the other end.
    ///   - isOperations: whether the operations listener accepted the connection.
    ///   - isFromTrustedProxy: whether the other end is a trusted proxy whose header fields are believed.
    ///   - isBehindTrustedProxy: whether the other end is a trusted proxy, also one that uses the PROXY protocol.
    ///   - isReserve: whether only health checks and metrics are answered.
    init(
        loop: EventLoopContext, headLimiter: RequestHeadLimiter, decoder: RequestDecoder.Handler, peer: String,
        isOperations: Bool, isFromTrustedProxy: Bool, isBehindTrustedProxy: Bool, isReserve: Bool
    ) {
        self.loop = loop
        self.headLimiter = headLimiter
        self.decoder = .present(decoder)
        self.peer = peer
        self.isOperations = isOperations
        self.isFromTrustedProxy = isFromTrustedProxy
        self.isBehindTrustedProxy = isBehindTrustedProxy
        self.isReserve = isReserve
        self.machine = RequestMachine(at: .now(), loop.configuration)
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
        if self.machine.phase != .closed { self.becomeClosed() }
    }

    /// Processes one part of a request from the decoder, or bytes that arrive while a stream has removed it.
    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard case .present = self.decoder else {
            self.machine.receivedBehindStream()
            return
        }
        switch self.unwrapInboundIn(data) {
        case .head(let head):
            do { self.handle(.head(try RequestHead(head))) } catch { self.inputBroken(error) }
        case .body(let bytes): self.handle(.body(bytes))
        case .end: self.handle(.end)
        }
    }

    /// Passes NIO's request to read from the socket on. Postpones the read while too much input waits to be processed, or while
    /// the client does not read its response.
    func read(context: ChannelHandlerContext) {
        let isBodyFull = self.upload?.body.isFull ?? false
        guard
            self.machine.mayRead(
                isBodyFull: isBodyFull, hasRoom: self.loop.budgets.hasRoomForPipelined, self.loop.configuration)
        else { return }
        context.read()
    }

    /// Performs a postponed read of the socket, if it may be read now. Does nothing if no read was postponed.
    func resumeReading() {
        guard self.machine.takePausedRead(), let context = self.context else { return }
        self.read(context: context)
    }

    /// Updates ``isWritable``. If the socket has become writable, continues what waits for that: the event stream, the task
    /// that writes a response body, or the next request after a complete response.
    func channelWritabilityChanged(context: ChannelHandlerContext) {
        self.isWritable = context.channel.isWritable
        if self.isWritable {
            if self.countedResponseBytes > 0 { self.measureResponses() }
            self.resumeWriter(nil)
        }
        if case .streaming(let stream) = self.exchange {
            stream.writabilityChanged()
        } else if self.isWritable {
            self.perform(self.machine.becameWritable(at: .now(), self.loop.configuration))
        }
    }

    /// Handles the half-close by the client: closes the connection unless a response is still due.
    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        guard case ChannelEvent.inputClosed = event, !self.decoder.isLeaving else { return }
        self.perform(self.machine.inputEnded())
    }

    /// Ends the stream or the request after the connection was closed.
    func channelInactive(context: ChannelHandlerContext) {
        let exchange = self.exchange
        self.becomeClosed()
        self.resumeWriter(RequestBodyStream.Disconnected())
        switch exchange {
        case .none, .reading: break
        case .receiving(let upload): upload.body.fail(RequestBodyStream.Disconnected())
        case .streaming(let stream): stream.disconnected()
        }
    }

    /// Rejects a request that cannot be parsed. If a request is already being answered, closes the connection after the
    /// response.
    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        if self.decoder.isLeaving, error is HTTPParserError { return self.machine.receivedBehindStream() }
        self.inputBroken(error)
    }

    // MARK: The machine

    /// Processes one part of a request.
    func handle(_ part: RequestPart) { self.perform(self.machine.received(part, at: .now(), self.loop.configuration)) }

    /// Carries out what the machine has decided.
    func perform(_ action: RequestMachine.Action) {
        switch action {
        case .nothing: break
        case .begin(let head): self.begin(head)
        case .keep(let bytes): self.keepBody(bytes)
        case .respond: self.bodyRead()
        case .pass(let bytes): self.upload?.received(bytes, self.record)
        case .endBody:
            self.upload?.body.finish()
            self.exchange = .none
        case .failBody(let failure): self.failUpload(self.problem(failure))
        case .endDiscarded: self.responseWritten()
        case .queued: self.checkPipelines()
        case .next:
            self.becomeIdle()
            self.processPipelined()
        case .wait:
            if !self.isAuthenticated || self.account == ConnectionBudgets.noAccount { self.loop.mayEvict(self) }
        case .reject(let failure): self.rejectAndClose(self.problem(failure))
        case .linger(let time): self.linger(time)
        case .close: self.closeNow()
        }
        self.countPipelined()
    }

    /// The problem that answers a request which is not read whole.
    private func problem(_ failure: RequestMachine.Failure) -> HTTPProblem {
        switch failure {
        case .malformed: .malformed
        case .tooSlow: .tooSlow
        case .bodyTooLarge: .bodyTooLarge(self.loop.configuration.maximumBodyBytes)
        case .pipelinesFull: .pipelinesFull(self.loop.configuration)
        }
    }

    /// The input is not HTTP/1.1, or too large.
    private func inputBroken(_ error: any Error) {
        switch self.machine.inputBroken() {
        case .reject:
            if error is IOError { return self.closeNow() }
            self.rejectAndClose(self.problem(error))
        case let action: self.perform(action)
        }
    }

    /// The problem that answers a request which cannot be parsed.
    private func problem(_ error: any Error) -> HTTPProblem {
        switch error {
        case let error as RequestHeadLimiter.HeadTooLarge:
            return error.isRequestLine ? .uriTooLong(self.loop.configuration) : .headersTooLarge(self.loop.configuration)
        case HTTPParserError.headerOverflow:
            let isTarget = self.headLimiter.lineLength > self.loop.configuration.maximumURIBytes
            return isTarget ? .uriTooLong(self.loop.configuration) : .headersTooLarge(self.loop.configuration)
        case RequestHead.Rejection.host: return .badHost
        case RequestHead.Rejection.transferCoding: return .unknownCoding
        // The parser's errors, and those of a head that could not be converted into a request.
        default: return .malformed
        }
    }

    /// Processes the parts that arrived while a request was being answered, until the next request is being answered.
    func processPipelined() {
        guard !self.isProcessingPipelined else { return }
        self.isProcessingPipelined = true
        while let part = self.machine.takePipelined() {
            self.countPipelined()
            self.handle(part)
        }
        self.isProcessingPipelined = false
        self.countPipelined()
        self.resumeReading()
    }

    /// Updates what others know of the parts that wait in the machine: the budget over all connections, and the shard, which
    /// postpones a pass (delivery of live events) for parts that wait for the hub.
    func countPipelined() {
        let bytes = self.machine.pipelinedBytes
        if bytes != self.countedPipelinedBytes {
            self.loop.budgets.pipelinedChanged(by: bytes - self.countedPipelinedBytes)
            self.countedPipelinedBytes = bytes
        }
        let parts = self.machine.pendingParts
        if parts != self.countedPendingParts {
            self.loop.shard.pendingRequestParts += parts - self.countedPendingParts
            self.countedPendingParts = parts
        }
    }

    /// Enters the phase `closed` and removes the connection from those whose deadlines the loop checks.
    private func becomeClosed() {
        self.exchange = .none
        self.machine.closed()
        self.countPipelined()
        self.releaseBody()
        self.countResponseBytes(0)
        self.loop.closed(self)
    }
}
