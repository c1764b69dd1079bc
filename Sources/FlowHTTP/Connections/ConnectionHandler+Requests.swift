import DequeModule
import FlowCore
import HTTPTypes
import Hummingbird
import NIOCore
import NIOHTTPTypes

extension ConnectionHandler {
    // MARK: Requests

    /// Processes a request head: rejects it, opens an event stream, or decides about the access of an ordinary request.
    func handleHead(_ head: HTTPRequest) {
        self.headLimiter.awaitsHead = false
        self.isAnsweringHead = head.method == .head
        self.beginRequest(head)
        let configuration = self.loop.configuration
        let target = head.path ?? ""
        if target.utf8.count > configuration.maximumURIBytes {
            self.rejectAndClose(.uriTooLong(configuration))
            return
        }
        guard target.utf8.first == UInt8(ascii: "/") else {
            self.rejectAndClose(.malformed)
            return
        }
        // The size of the fields on the wire: each is name, colon, space, value, CRLF.
        let headerBytes = head.headerFields.reduce(0) { $0 + $1.name.rawName.utf8.count + $1.value.utf8.count + 4 }
        guard headerBytes <= configuration.maximumHeaderBytes else {
            self.rejectAndClose(.headersTooLarge(configuration), isHead: head.method == .head)
            return
        }
        let requestPath = RequestPath(target)
        let path = requestPath.path
        let access = (self.isOperations ? self.loop.operations : self.loop.application).access
        if let rejection = access.pages?.rejection(of: head, path: path) {
            self.rejectAndClose(HTTPProblem(rejection, of: head), isHead: head.method == .head)
            return
        }
        if !self.isOperations, StreamRequest.isStream(method: head.method, path: path) {
            IdleConnectionList.remove(self)
            self.openStream(head, path: path, query: requestPath.query)
            return
        }
        if self.isReserve, self.loop.isOverLimit, !path.hasPrefix("/health/"), path != "/metrics" {
            self.loop.budgets.countRefusal()
            self.rejectAndClose(.connectionsFull(configuration), isHead: head.method == .head)
            return
        }
        self.authorize(head, target: requestPath)
    }

    /// The client's IP address: that of the connection, or what a trusted proxy states.
    func clientAddress(of head: HTTPRequest) -> String {
        self.loop.application.access.proxies.client(peer: self.peer, fields: head.headerFields)
    }

    /// Whether the request's body is processed as it arrives, instead of being collected first: true for the upload of an
    /// import. The connection does not limit the size of such a body.
    static func streamsRequestBody(method: HTTPRequest.Method, path: Substring) -> Bool {
        method == .post && path == "/v1/imports"
    }

    /// Starts to answer a request whose body is still arriving, and passes the body on through a ``RequestBodyStream``.
    /// - Parameter principal: the client, whose access is checked again while the body arrives.
    func receive(_ head: HTTPRequest, from principal: Principal) {
        let boundSelf = NIOLoopBound(self, eventLoop: self.loop.loop)
        let loop = self.loop.loop
        self.uploader = principal
        self.uploadPace = UploadPace(now: .now())
        let isExpecting = head.headerFields[.expect]?.lowercased() == "100-continue"
        let bodyStream = RequestBodyStream(
            capacity: self.loop.configuration.importBufferBytes, budget: self.loop.budgets.bodies, account: self.account,
            onFirstRead: { if isExpecting { loop.execute { boundSelf.value.sendContinue() } } },
            onDrain: { loop.execute { boundSelf.value.resumeReading() } })
        self.respond(
            to: OrdinaryRequest(head: head, access: .granted(principal)), body: .init(asyncSequence: bodyStream),
            keepAlive: !self.closesAfterResponse(head), bodyStream: bodyStream)
    }

    /// Sends `100 Continue` to a client that waits for it before it sends the body.
    private func sendContinue() {
        guard case .receiving = self.state, !self.dropsBody else { return }
        self.context?.writeAndFlush(self.wrapOutboundOut(.head(HTTPResponse(status: .continue))), promise: nil)
    }

    /// Stops passing the request body to the task that answers the request, and discards the rest of the body. Called when
    /// the response is ready before the whole body has arrived, or when the body is malformed or too slow. Does nothing if
    /// no body is arriving.
    func dropBody() {
        guard case .receiving = self.state else { return }
        self.state = .responding(keepAlive: false)
        self.deadline = .distantFuture
        self.uploader = nil
        self.dropsBody = true
        self.resumeReading()
    }

    /// Whether the connection is closed after the response to this request: the client or a drain requires it.
    func closesAfterResponse(_ head: HTTPRequest) -> Bool {
        Self.requestsClose(head) || self.isQuiescing || self.isInputBroken
            || self.loop.isDraining
    }

    /// Answers a request in a task on the event loop.
    /// - Parameters:
    ///   - keepAlive: whether the connection stays open after the response.
    ///   - bodyStream: the source of `body` if the body is still arriving; `nil` if it was read whole.
    func respond(to ordinary: OrdinaryRequest, body: RequestBody, keepAlive: Bool, bodyStream: RequestBodyStream? = nil) {
        guard let channel = self.context?.channel else { return }
        IdleConnectionList.remove(self)
        if let bodyStream {
            self.state = .receiving(keepAlive: keepAlive, bodyStream)
            self.deadline = .now() + .seconds(Int64(self.loop.configuration.bodyTimeoutSeconds))
        } else {
            self.state = .responding(keepAlive: keepAlive)
            self.deadline = .distantFuture
        }
        let head = ordinary.head
        let request = Request(head: head, body: body)
        let access = ordinary.access
        let application = self.isOperations ? self.loop.operations : self.loop.application
        let bodies = self.loop.budgets.bodies
        let (account, bodyBytes) = (self.account, self.heldBodyBytes)
        self.heldBodyBytes = 0
        let remote = self.clientAddress(of: head)
        let isSecure = self.isSecure(head)
        let (id, record) = (self.requestID, self.record)
        let boundSelf = NIOLoopBound(self, eventLoop: self.loop.loop)
        let start = NIODeadline.now()
        // One task per request. The connection's state lets the next request start only after this response.
        Task(executorPreference: self.loop.executor) {
            let (response, route) = await application.respond(
                to: request, access: access, channel: channel, remote: remote, isSecure: isSecure, id: id, record: record)
            bodies.release(bodyBytes, of: account)
            let writer = ConnectionResponseWriter(connection: boundSelf)
            let (status, isComplete) = await boundSelf.value.answer(response, to: ordinary, id: id, record: record, with: writer)
            let loop = boundSelf.value.loop
            loop.requests.observe(route: route, status: status.code, duration: .now() - start)
            if let record {
                loop.accessLog?.answered(record, status, route: route, reason: isComplete ? nil : StreamEnding.disconnected.name)
            }
        }
    }

    /// Whether the client requests the close of the connection after the response, or an upgrade, after which the HTTP
    /// decoder parses no further requests.
    static func requestsClose(_ head: HTTPRequest) -> Bool {
        if head.headerFields[.upgrade] != nil { return true }
        guard let options = head.headerFields[.connection] else { return false }
        return options.lowercased().split(separator: ",").contains { $0.split(separator: " ").first == "close" }
    }

    /// Writes a response, including its body. Does nothing if the connection was closed. If the budget of responses has no
    /// room for it, writes a problem instead.
    /// - Returns: the status that was sent, and whether the whole response was written.
    private func answer(
        _ response: Response, to ordinary: OrdinaryRequest, id: String, record: RequestRecord?,
        with writer: ConnectionResponseWriter
    ) async -> (HTTPResponse.Status, isComplete: Bool) {
        let head = ordinary.head
        self.dropBody()
        guard case .responding(let keepAlive) = self.state, self.context != nil else { return (response.status, false) }
        var fields = response.head
        fields.headerFields[.date] = self.loop.httpDate
        fields.headerFields[.requestID] = id
        if !keepAlive || self.isQuiescing || self.loop.isDraining {
            fields.headerFields[.connection] = "close"
            self.state = .responding(keepAlive: false)
        }
        // Sent with the first bytes of the body.
        self.unsentHead = fields
        self.isAnsweringRead = head.method == .get
        if self.isAnsweringRead, case .granted(let principal) = ordinary.access { self.reader = principal }
        if head.method == .head || response.status == .noContent || response.status == .notModified {
            writer.end()
            return (response.status, true)
        }
        do {
            try await response.body.write(writer)
        } catch var problem as HTTPProblem where self.unsentHead != nil {
            problem.requestID = id
            record?.set(\.code, problem.code)
            var replacement = self.withCORS(problem, origin: head.headerFields[.origin]).response.head
            replacement.headerFields[.date] = fields.headerFields[.date]
            replacement.headerFields[.connection] = fields.headerFields[.connection]
            self.unsentHead = replacement
            self.sendHead()
            let body = ByteBuffer(bytes: problem.document.bytes)
            record?.sent(body.readableBytes)
            self.context?.write(self.wrapOutboundOut(.body(body)), promise: nil)
            writer.end()
            return (problem.status, true)
        } catch {
            // The response head was sent already, so an error can only be reported by closing the connection.
            self.context?.close(promise: nil)
            return (response.status, false)
        }
        return (response.status, true)
    }

    /// Writes the response head, if it was not written yet.
    private func sendHead() {
        guard let head = self.unsentHead else { return }
        self.unsentHead = nil
        self.context?.write(self.wrapOutboundOut(.head(head)), promise: nil)
    }

    /// Writes a chunk of a response body. Suspends while the socket is not writable.
    /// - Throws: ``RequestBodyStream/Disconnected`` if the connection was closed; ``HTTPProblem`` if the budget of responses has
    ///   no room for the first chunk, so that nothing was written.
    func writeBody(_ buffer: ByteBuffer) async throws {
        guard case .responding = self.state, let context = self.context else { throw RequestBodyStream.Disconnected() }
        if self.unsentHead != nil {
            try self.holdResponse(buffer.readableBytes)
            self.sendHead()
        }
        self.record?.sent(buffer.readableBytes)
        context.write(self.wrapOutboundOut(.body(buffer)), promise: nil)
        self.responsePace.sent(buffer.readableBytes)
        guard !self.isWritable else { return }
        context.flush()
        guard !self.isWritable, case .responding = self.state else { return }
        self.measureResponses()
        self.startWriteTimeout(self.writeTimeout)
        try await withCheckedThrowingContinuation { self.writer = $0 }
        self.deadline = .distantFuture
    }

    /// Resumes the task that waits in ``writeBody(_:)``.
    /// - Parameter error: the reason why nothing more can be written; `nil` if the socket is writable again.
    func resumeWriter(_ error: (any Error)?) {
        guard let writer = self.writer else { return }
        self.writer = nil
        if let error { writer.resume(throwing: error) } else { writer.resume() }
    }

    /// Completes the response, then processes the next request or closes the connection.
    func finishResponse() {
        guard case .responding(let keepAlive) = self.state, let context = self.context else { return }
        self.sendHead()
        // The encoder would end a response to HEAD without `Content-Length` with an empty chunk, which the client takes for the
        // beginning of the next response.
        if self.isAnsweringHead { context.flush() } else { context.writeAndFlush(self.wrapOutboundOut(.end(nil)), promise: nil) }
        if case .closed = self.state { return }
        if self.countedResponseBytes > 0 || !self.isWritable { self.measureResponses() }
        if !keepAlive || self.isLast {
            self.lingeringClose(timeout: self.queuedBytes == 0 ? Self.lingeringCloseTimeout : self.writeTimeout)
        } else if self.isWritable {
            self.becomeIdle()
            self.processPipelined()
        } else {
            self.waitForFlush()
        }
    }

    /// Waits until NIO has passed the whole response to the socket.
    func waitForFlush() {
        self.state = .flushing
        self.startWriteTimeout(self.writeTimeout)
        self.countPendingParts()
        if !self.isAuthenticated || self.account == ConnectionBudgets.noAccount { self.loop.mayEvict(self) }
    }

    /// Processes the next request or closes the connection, after NIO has passed the whole response to the socket.
    func responseFlushed() {
        if self.isLast {
            self.lingeringClose()
        } else {
            self.becomeIdle()
            self.processPipelined()
        }
    }

    /// Whether no further request will be processed on this connection.
    var isLast: Bool { self.isQuiescing || (self.inputClosed && self.pipelined.isEmpty) }

    /// Waits for the next request, at most for the idle timeout.
    func becomeIdle() {
        self.state = .idle
        self.responsePace = ResponsePace(unread: self.queuedBytes)
        self.reader = nil
        self.requestID = ""
        self.record = nil
        self.headLimiter.awaitsHead = true
        self.deadline = .now() + .seconds(Int64(self.loop.configuration.idleTimeoutSeconds))
        self.loop.mayEvict(self)
    }

    /// Processes the request parts that arrived while a request was being answered, until one of these parts completes the next
    /// request.
    func processPipelined() {
        self.countPendingParts()
        while !self.pipelined.isEmpty {
            switch self.state {
            case .responding, .flushing, .admitting, .verifying: return
            case .streaming, .lingeringClose, .closed:
                self.discardPipelined()
                return
            case .idle, .reading, .discarding, .receiving:
                self.handle(self.takePipelined())
            }
        }
        self.resumeReading()
    }
}

/// Writes the body of a Hummingbird response to its connection.
private struct ConnectionResponseWriter: ResponseBodyWriter {
    let connection: NIOLoopBound<ConnectionHandler>

    /// Writes a chunk of the body. Suspends while the socket is not writable.
    func write(_ buffer: ByteBuffer) async throws { try await self.connection.value.writeBody(buffer) }
    /// Completes the response; trailing fields are not sent.
    consuming func finish(_ trailingHeaders: HTTPFields?) async throws { self.connection.value.finishResponse() }
    /// Completes a response without a body.
    func end() { self.connection.value.finishResponse() }
}
