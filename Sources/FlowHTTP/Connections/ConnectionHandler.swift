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
    private let guardian: HeadGuard
    private let remote: String
    private var httpHandlers: [any RemovableChannelHandler]
    private(set) var state = State.idle
    private var context: ChannelHandlerContext?
    /// What came in while a request was being answered.
    private var pipelined = Deque<HTTPRequestPart>()
    private var isReadHeld = false
    private var deadline: NIODeadline
    private var isQuiescing = false
    private var hasLeftHTTP = false
    private var closesAfterDecline = false
    private var peerHasFinished = false
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

    private func take(_ part: HTTPRequestPart) {
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

    // MARK: Requests

    private func begin(_ head: HTTPRequest) {
        self.guardian.awaitsHead = false
        let configuration = self.loop.configuration
        let target = head.path ?? ""
        if target.utf8.count > configuration.maximumURIBytes {
            self.refuse(.uriTooLong(configuration))
            return
        }
        guard target.utf8.first == UInt8(ascii: "/") else {
            self.refuse(.malformed)
            return
        }
        // As on the wire: name, colon, blank, value, line end.
        let headerBytes = head.headerFields.reduce(0) { $0 + $1.name.rawName.utf8.count + $1.value.utf8.count + 4 }
        guard headerBytes <= configuration.maximumHeaderBytes else {
            self.refuse(.headersTooLarge(configuration))
            return
        }
        let path = target.prefix { $0 != "?" }
        if StreamRequest.isStream(method: head.method, path: path) {
            self.openStream(head, path: path, query: target[path.endIndex...].dropFirst())
            return
        }
        if let length = head.headerFields[.contentLength].flatMap({ Int($0) }), length > configuration.maximumBodyBytes {
            self.refuse(.bodyTooLarge(configuration.maximumBodyBytes))
            return
        }
        if head.headerFields[.expect]?.lowercased() == "100-continue" {
            self.context?.writeAndFlush(self.wrapOutboundOut(.head(HTTPResponse(status: .continue))), promise: nil)
        }
        self.deadline = .now() + .seconds(Int64(configuration.bodyTimeoutSeconds))
        self.state = .reading(head, ByteBuffer())
    }

    private func respond(to head: HTTPRequest, body: ByteBuffer) {
        guard let channel = self.context?.channel else { return }
        let closes = Self.asksToClose(head) || self.isQuiescing
        self.state = .responding(keepAlive: !closes)
        self.deadline = .distantFuture
        let request = Request(head: head, body: .init(buffer: body))
        let application = self.loop.application
        let remote = self.remote
        let me = NIOLoopBound(self, eventLoop: self.loop.loop)
        let began = NIODeadline.now()
        // Each request is a task of its own, bounded by the connection's state: the next begins when this one is answered.
        Task(executorPreference: self.loop.executor) {
            let (response, route) = await application.respond(to: request, channel: channel, remote: remote)
            let writer = ConnectionResponseWriter(connection: me)
            await me.value.answer(response, to: head, with: writer)
            me.value.loop.requests.observe(route: route, status: response.status.code, took: .now() - began)
        }
    }

    /// Whether the connection ends with the answer: the client says so, or it wants another protocol, and behind such a request
    /// the decoder reads nothing.
    private static func asksToClose(_ head: HTTPRequest) -> Bool {
        if head.headerFields[.upgrade] != nil { return true }
        guard let options = head.headerFields[.connection] else { return false }
        return options.lowercased().split(separator: ",").contains { $0.split(separator: " ").first == "close" }
    }

    private func answer(_ response: Response, to head: HTTPRequest, with writer: ConnectionResponseWriter) async {
        guard case .responding(let keepAlive) = self.state, let context = self.context else { return }
        var fields = response.head
        fields.headerFields[.date] = self.loop.httpDate
        if !keepAlive || self.isQuiescing { fields.headerFields[.connection] = "close" }
        context.write(self.wrapOutboundOut(.head(fields)), promise: nil)
        if head.method == .head || response.status == .noContent || response.status == .notModified {
            writer.end()
        } else {
            // A body that fails half-way leaves nothing but to close.
            do { try await response.body.write(writer) } catch { self.context?.close(promise: nil) }
        }
    }

    fileprivate func writeBody(_ buffer: ByteBuffer) {
        self.context?.write(self.wrapOutboundOut(.body(buffer)), promise: nil)
    }

    /// The response is complete; on with the next request.
    fileprivate func finishResponse() {
        guard case .responding(let keepAlive) = self.state, let context = self.context else { return }
        context.writeAndFlush(self.wrapOutboundOut(.end(nil)), promise: nil)
        if case .closed = self.state { return }
        if !keepAlive || self.isQuiescing || (self.peerHasFinished && self.pipelined.isEmpty) {
            self.endPolitely()
            return
        }
        self.becomeIdle()
        self.takePipelined()
    }

    private func becomeIdle() {
        self.state = .idle
        self.guardian.awaitsHead = true
        self.deadline = .now() + .seconds(Int64(self.loop.configuration.idleTimeoutSeconds))
    }

    private func takePipelined() {
        while !self.pipelined.isEmpty {
            switch self.state {
            case .responding, .admitting: return
            case .streaming, .refused, .closed:
                self.dropPipelined()
                return
            case .idle, .reading:
                let part = self.pipelined.removeFirst()
                self.loop.shard.backlog -= 1
                self.take(part)
            }
        }
        if self.isReadHeld {
            self.isReadHeld = false
            self.context?.read()
        }
    }

    private func dropPipelined() {
        self.loop.shard.backlog -= self.pipelined.count
        self.pipelined = []
    }

    // MARK: Refusals

    /// Answers without having read the whole request. What is left of it is read and thrown away for a while, since
    /// closing at once would reset the connection and could take the answer with it.
    private func refuse(_ problem: HTTPProblem) {
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
    private func endPolitely() {
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

extension ConnectionHandler {
    // MARK: Event streams

    private func openStream(_ head: HTTPRequest, path: Substring, query: Substring) {
        let access = self.loop.application.access
        let fields = head.headerFields
        self.closesAfterDecline = Self.asksToClose(head)
        let cors = access.cors.headers(for: fields[.origin])
        let request: StreamRequest
        do throws(StreamRequest.Malformed) {
            var parsed = try StreamRequest(
                path: path, query: query, lastEventID: fields[.lastEventID],
                maximumFlows: self.loop.shard.services.configuration.maximumFlows)
            parsed.responseHeaders = cors
            request = parsed
        } catch {
            self.decline(HTTPProblem(error), cors: cors)
            return
        }
        self.state = .admitting
        self.deadline = .distantFuture
        if access.verifier.isOpen {
            self.admit(.success(.open), request)
            return
        }
        let token = TokenSource.token(authorization: fields[.authorization], cookie: fields[.cookie], query: query)?.token
        guard let token else {
            self.admit(.failure(.tokenMissing), request)
            return
        }
        let now = self.loop.shard.now().seconds
        if let principal = access.verifier.cached(token, now: now) {
            self.admit(.success(principal), request)
            return
        }
        let me = NIOLoopBound(self, eventLoop: self.loop.loop)
        let pending = NIOLoopBound(request, eventLoop: self.loop.loop)
        // A signature takes a tenth of a millisecond: elsewhere, so that the loop goes on meanwhile.
        Task {
            let result: Result<Principal, AccessError>
            do throws(AccessError) {
                result = .success(try await access.verifier.verify(token, now: now))
            } catch {
                result = .failure(error)
            }
            let outcome = result
            me.eventLoop.execute { me.value.admit(outcome, pending.value) }
        }
    }

    private func admit(_ result: Result<Principal, AccessError>, _ request: StreamRequest) {
        guard case .admitting = self.state else { return }
        switch result {
        case .failure(let error):
            self.decline(HTTPProblem(error), cors: request.responseHeaders)
        case .success(let principal):
            if self.loop.application.access.isRevoked(principal) {
                self.decline(HTTPProblem(.tokenRevoked), cors: request.responseHeaders)
                return
            }
            if let hidden = request.flows.first(where: { !principal.maySubscribe($0) }) {
                let error = AccessError.forbidden(need: "the flow \(hidden) under flows.subscribe")
                self.decline(HTTPProblem(error), cors: request.responseHeaders)
                return
            }
            let shard = self.loop.shard
            guard let number = shard.services.admit(principal) else {
                self.begin(extraHeaders: request.responseHeaders)
                var last = ByteBuffer()
                last.writeRetry(milliseconds: shard.jitteredRetry())
                last.writeClosing(.full)
                self.write(last)
                self.finish()
                return
            }
            let stream = EventStream(
                number: number, principal: principal, remote: self.remote, request: request, epoch: shard.services.manager.epoch,
                shard: shard, output: self)
            self.state = .streaming(stream)
            shard.open(stream)
        }
    }

    private func decline(_ problem: HTTPProblem, cors: [(name: String, value: String)]) {
        var response = problem.response
        for (name, value) in cors {
            if let field = HTTPField.Name(name) { response.headers[field] = value }
        }
        self.answerHere(response, body: ByteBuffer(bytes: problem.document.bytes))
    }

    private func answerHere(_ response: Response, body: ByteBuffer?) {
        guard let context = self.context else { return }
        self.loop.requests.observe(route: "stream", status: response.status.code, took: .zero)
        self.state = .responding(keepAlive: !self.closesAfterDecline)
        var head = response.head
        head.headerFields[.date] = self.loop.httpDate
        if self.closesAfterDecline { head.headerFields[.connection] = "close" }
        context.write(self.wrapOutboundOut(.head(head)), promise: nil)
        if let body { self.writeBody(body) }
        self.finishResponse()
    }
}

extension ConnectionHandler: StreamOutput {
    var queuedBytes: Int {
        guard let options = self.context?.channel.syncOptions else { return 0 }
        return (try? options.getOption(.bufferedWritableBytes)) ?? 0
    }

    func begin(extraHeaders: [(name: String, value: String)]) {
        self.loop.closed(self)
        self.dropPipelined()
        var head = ByteBufferAllocator().buffer(capacity: 256)
        head.writeStaticString("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n")
        head.writeStaticString("Cache-Control: no-store, no-transform\r\nX-Accel-Buffering: no\r\nDate: ")
        head.writeString(self.loop.httpDate)
        for (name, value) in extraHeaders { head.writeString("\r\n\(name): \(value)") }
        head.writeStaticString("\r\n\r\n")
        self.write(head)
        self.leaveHTTP()
    }

    /// A stream needs no parser any more; they are a third of a connection's memory.
    private func leaveHTTP() {
        guard !self.hasLeftHTTP, let pipeline = self.context?.pipeline.syncOperations else { return }
        self.hasLeftHTTP = true
        for handler in self.httpHandlers { pipeline.removeHandler(handler, promise: nil) }
        self.httpHandlers = []
    }

    func decline(_ refusal: StreamRefusal) {
        guard case .streaming(let stream) = self.state else { return }
        let cors = stream.request.responseHeaders
        switch refusal {
        case .noContent:
            var response = Response(status: .noContent)
            for (name, value) in cors {
                if let field = HTTPField.Name(name) { response.headers[field] = value }
            }
            self.answerHere(response, body: nil)
        case .problem(let problem):
            self.decline(problem, cors: cors)
        }
    }

    /// Past the encoder: an event stream has no length and no chunks, its end is the connection's.
    func write(_ buffer: ByteBuffer) {
        self.guardian.context?.write(NIOAny(buffer), promise: nil)
    }

    func send(_ buffer: ByteBuffer) {
        self.guardian.context?.writeAndFlush(NIOAny(buffer), promise: nil)
    }

    func flush() { self.guardian.context?.flush() }

    func finish() {
        self.flush()
        self.endPolitely()
    }

    func abort() { self.context?.close(promise: nil) }
}

/// Writes the body of a Hummingbird response to its connection.
private struct ConnectionResponseWriter: ResponseBodyWriter {
    let connection: NIOLoopBound<ConnectionHandler>

    func write(_ buffer: ByteBuffer) async throws { self.connection.value.writeBody(buffer) }
    consuming func finish(_ trailingHeaders: HTTPFields?) async throws { self.connection.value.finishResponse() }
    func end() { self.connection.value.finishResponse() }
}

extension HTTPProblem {
    fileprivate static var malformed: HTTPProblem {
        HTTPProblem(
            .badRequest, "malformed_request", "This is not a request of HTTP/1.1 that the hub can read. The connection is closed."
        )
    }

    fileprivate static var badHost: HTTPProblem {
        HTTPProblem(.badRequest, "bad_host", "A request names exactly one host, in its Host field. The connection is closed.")
    }

    fileprivate static var unknownCoding: HTTPProblem {
        HTTPProblem(.notImplemented, "unknown_transfer_coding", "The one Transfer-Encoding is chunked. The connection is closed.")
    }

    fileprivate static var tooSlow: HTTPProblem {
        HTTPProblem(.requestTimeout, "request_timeout", "The request took too long to arrive. Send it again in one go.")
    }

    fileprivate static func bodyTooLarge(_ limit: Int) -> HTTPProblem {
        HTTPProblem(
            .contentTooLarge, "body_too_large",
            "A request body may have \(limit) bytes (FLOWHUB_MAX_BODY_BYTES). Send less at a time.")
    }

    fileprivate static func uriTooLong(_ configuration: HTTPConfiguration) -> HTTPProblem {
        HTTPProblem(
            .uriTooLong, "uri_too_long",
            "A request target may have \(configuration.maximumURIBytes) bytes (FLOWHUB_MAX_URI_BYTES).")
    }

    fileprivate static func headersTooLarge(_ configuration: HTTPConfiguration) -> HTTPProblem {
        HTTPProblem(
            .requestHeaderFieldsTooLarge, "headers_too_large",
            "The header fields may have \(configuration.maximumHeaderBytes) bytes together (FLOWHUB_MAX_HEADER_BYTES).")
    }
}

extension HTTPField.Name {
    static let lastEventID = Self("last-event-id") ?? .ifMatch
}
