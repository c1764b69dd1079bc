import FlowCore
import HTTPTypes
import Hummingbird
import NIOCore
import NIOHTTPTypes

extension ConnectionHandler {
    // MARK: Event streams

    /// Parses and authenticates a request for an event stream whose target names its flows. Answers a malformed request with a
    /// problem, with or without a token. While the hub drains, closes the connection without a response.
    func openStream(_ head: HTTPRequest, path: Substring) {
        let admission = self.loop.admission
        if admission.declinesWhileDraining() {
            self.declineWhileDraining()
            return
        }
        self.closesAfterRejection = Self.requestsClose(head)
        let cors = admission.access.cors.headers(for: head.headerFields[.origin])
        var request: StreamRequest
        do throws(StreamRequest.Malformed) {
            request = try admission.parse(head, path: path, remote: self.clientAddress(of: head))
            request.responseHeaders = cors
        } catch {
            self.reject(HTTPProblem(error), cors: cors)
            return
        }
        self.state = .admitting
        self.deadline = .distantFuture
        let isSecure = admission.access.proxies.stateHTTPS(peer: self.peer, fields: head.headerFields)
        switch admission.authenticate(head, path: path, isSecure: isSecure) {
        case .decided(let access): self.admit(request, access)
        case .unverified(let token):
            let boundSelf = NIOLoopBound(self, eventLoop: self.loop.loop)
            let pending = NIOLoopBound(request, eventLoop: self.loop.loop)
            let access = admission.access
            // Verifying a signature takes about 0.1 ms of CPU time, so it runs outside the event loop.
            Task {
                let decision = await access.verify(token)
                boundSelf.eventLoop.execute { boundSelf.value.admit(pending.value, decision) }
            }
        }
    }

    /// Opens the stream of an authenticated request, or answers as the admission has decided.
    func admit(_ request: StreamRequest, _ access: RequestAccess) {
        guard case .admitting = self.state else { return }
        let admission = self.loop.admission
        switch admission.admit(request, access, record: self.record) {
        case .drain: self.declineWhileDraining()
        case .problem(let problem): self.reject(problem, cors: request.responseHeaders)
        case .full(let bytes):
            self.startResponse(extraHeaders: request.responseHeaders)
            self.write(bytes)
            self.logAnswer(.ok, reason: ClosingReason.full.rawValue, bytes: bytes.readableBytes)
            self.finish()
        case .open(let admitted):
            let output = self.output(ofStream: admitted.number, request.flows)
            let stream = admission.open(admitted, output: output)
            self.state = .streaming(stream)
            self.loop.shard.open(stream)
        }
    }

    /// Closes the connection without a response.
    private func declineWhileDraining() {
        self.logAnswer(nil, reason: ClosingReason.drain.rawValue)
        self.context?.close(promise: nil)
    }

    /// Answers a request for a stream with a problem instead of a stream.
    func reject(_ problem: HTTPProblem, cors: [(name: String, value: String)]) {
        var problem = problem
        problem.requestID = self.requestID
        var response = problem.response
        for (name, value) in cors {
            if let field = HTTPField.Name(name) { response.headers[field] = value }
        }
        let body = ByteBuffer(bytes: problem.document.bytes)
        self.logAnswer(problem, bytes: body.readableBytes)
        self.respondOnLoop(response, body: body)
    }

    /// Sends an ordinary response to a request for a stream, without the router.
    func respondOnLoop(_ response: Response, body: ByteBuffer?) {
        guard let context = self.context else { return }
        self.loop.requests.observe(route: "stream", status: response.status.code, duration: .zero)
        self.state = .responding(keepAlive: !self.closesAfterRejection)
        var head = response.head
        head.headerFields[.date] = self.loop.httpDate
        head.headerFields[.requestID] = self.requestID
        if self.closesAfterRejection { head.headerFields[.connection] = "close" }
        context.write(self.wrapOutboundOut(.head(head)), promise: nil)
        if let body { context.write(self.wrapOutboundOut(.body(body)), promise: nil) }
        self.finishResponse()
    }
}

extension ConnectionHandler: StreamOutput {
    /// Bytes that were written and that NIO has not passed to the socket.
    var queuedBytes: Int {
        guard let options = self.context?.channel.syncOptions else { return 0 }
        return (try? options.getOption(.bufferedWritableBytes)) ?? 0
    }

    /// Writes the response head, which turns the connection into an event stream.
    func startResponse(extraHeaders: [(name: String, value: String)]) {
        self.loop.closed(self)
        self.discardPipelined()
        self.countResponseBytes(0)
        var head = ByteBufferAllocator().buffer(capacity: 256)
        head.writeStaticString("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n")
        head.writeStaticString("Cache-Control: no-store, no-transform\r\nX-Accel-Buffering: no\r\nDate: ")
        head.writeString(self.loop.httpDate)
        head.writeStaticString("\r\nX-Request-ID: ")
        head.writeString(self.requestID)
        for (name, value) in extraHeaders { head.writeString("\r\n\(name): \(value)") }
        head.writeStaticString("\r\n\r\n")
        self.write(head)
        self.removeHTTPHandlers()
    }

    /// Removes the HTTP handlers, which a stream no longer needs. They use a third of a connection's memory.
    func removeHTTPHandlers() {
        guard !self.hasRemovedHTTPHandlers, let pipeline = self.context?.pipeline.syncOperations else { return }
        self.hasRemovedHTTPHandlers = true
        for handler in self.httpHandlers { pipeline.removeHandler(handler, promise: nil) }
        self.httpHandlers = []
    }

    /// Answers with 204 instead of a stream.
    func reject(_ rejection: StreamRejection) {
        guard case .streaming(let stream) = self.state else { return }
        let cors = stream.request.responseHeaders
        switch rejection {
        case .noContent:
            var response = Response(status: .noContent)
            for (name, value) in cors {
                if let field = HTTPField.Name(name) { response.headers[field] = value }
            }
            self.respondOnLoop(response, body: nil)
        }
    }

    /// Writes without the HTTP encoder: an event stream has no length and no chunks, and ends when the connection closes.
    func write(_ buffer: ByteBuffer) {
        self.headLimiter.context?.write(NIOAny(buffer), promise: nil)
    }

    /// Writes and flushes, without the HTTP encoder.
    func send(_ buffer: ByteBuffer) {
        self.headLimiter.context?.writeAndFlush(NIOAny(buffer), promise: nil)
    }

    /// Flushes what was written.
    func flush() { self.headLimiter.context?.flush() }

    /// Flushes, then closes with a lingering close, so that the client receives the last events.
    func finish() {
        self.flush()
        self.lingeringClose()
    }

    /// Closes the connection immediately and drops the queued bytes.
    func abort() { self.context?.close(promise: nil) }

    /// Does nothing: the stream tells it by its other calls. The access log has an output of its own.
    func ended(_ ending: StreamEnding) {}
}

extension HTTPField.Name {
    // The name is valid, so `.ifMatch` is never used: it only makes the type non-optional.
    static let lastEventID = Self("last-event-id") ?? .ifMatch
}
