import FlowCore
import HTTPTypes
import Hummingbird
import NIOCore
import NIOHTTPTypes

extension ConnectionHandler {
    // MARK: Event streams

    /// Parses and authenticates a request for an event stream, then calls ``admit(_:_:)``. Answers a malformed request with
    /// a problem. While the hub drains, closes the connection without a response.
    func openStream(_ head: HTTPRequest, path: Substring, query: Substring) {
        if self.loop.isDraining {
            self.refuseWhileDraining()
            return
        }
        let access = self.loop.application.access
        let fields = head.headerFields
        self.closesAfterRejection = Self.requestsClose(head)
        let cors = access.cors.headers(for: fields[.origin])
        let request: StreamRequest
        do throws(StreamRequest.Malformed) {
            var parsed = try StreamRequest(
                path: path, query: query, lastEventID: fields[.lastEventID],
                maximumFlows: self.loop.shard.services.configuration.maximumFlows)
            parsed.responseHeaders = cors
            parsed.remote = self.clientAddress(of: head)
            request = parsed
        } catch {
            self.reject(HTTPProblem(error), cors: cors)
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
        let boundSelf = NIOLoopBound(self, eventLoop: self.loop.loop)
        let pending = NIOLoopBound(request, eventLoop: self.loop.loop)
        // Verifying a signature takes about 0.1 ms of CPU time, so it runs outside the event loop.
        Task {
            let result: Result<Principal, AccessError>
            do throws(AccessError) {
                result = .success(try await access.verifier.verify(token, now: now))
            } catch {
                result = .failure(error)
            }
            let outcome = result
            boundSelf.eventLoop.execute { boundSelf.value.admit(outcome, pending.value) }
        }
    }

    /// Opens the stream of an authenticated request, or rejects the request. If a limit on the number of streams is reached,
    /// sends a stream that consists of `closing` only.
    func admit(_ result: Result<Principal, AccessError>, _ request: StreamRequest) {
        guard case .admitting = self.state else { return }
        if self.loop.isDraining {
            self.refuseWhileDraining()
            return
        }
        switch result {
        case .failure(let error):
            self.reject(HTTPProblem(error), cors: request.responseHeaders)
        case .success(let principal):
            if self.loop.application.access.isRevoked(principal) {
                self.reject(HTTPProblem(.tokenRevoked), cors: request.responseHeaders)
                return
            }
            self.record?.set(\.principal, principal)
            if let hidden = request.flows.first(where: { !principal.maySubscribe($0) }) {
                let error = AccessError.forbidden(need: "permission to subscribe to the flow \(hidden) (flows.subscribe)")
                self.reject(HTTPProblem(error), cors: request.responseHeaders)
                return
            }
            let shard = self.loop.shard
            guard let number = shard.services.admit(principal) else {
                self.startResponse(extraHeaders: request.responseHeaders)
                let last = StreamEncoder(request).closing(.full, retryMilliseconds: shard.jitteredRetry())
                self.write(last)
                self.logAnswer(.ok, reason: ClosingReason.full.rawValue, bytes: last.size)
                self.finish()
                return
            }
            let stream = EventStream(
                number: number, principal: principal, remote: request.remote, request: request,
                epoch: shard.services.manager.epoch,
                shard: shard, output: self.output(ofStream: number, request.flows))
            self.state = .streaming(stream)
            shard.open(stream)
        }
    }

    /// Closes the connection without a response. A proxy then sends the request to another instance, and a browser's
    /// `EventSource` reconnects; any response would reach the client, and the proxy would send the next request here again.
    private func refuseWhileDraining() {
        self.loop.shard.services.countRefusal(.drain)
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
        head.writeStaticString("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nConnection: close\r\n")
        head.writeStaticString("Cache-Control: no-store, no-transform\r\nX-Accel-Buffering: no\r\nDate: ")
        head.writeString(self.loop.httpDate)
        head.writeStaticString("\r\nX-Request-ID: ")
        head.writeString(self.requestID)
        for (name, value) in extraHeaders { head.writeString("\r\n\(name): \(value)") }
        head.writeStaticString("\r\n\r\n")
        self.headLimiter.context?.write(NIOAny(head), promise: nil)
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
    func write(_ block: StreamBlock) {
        guard !block.isEmpty else { return }
        self.headLimiter.context?.write(NIOAny(block.payload), promise: nil)
    }

    /// Writes and flushes, without the HTTP encoder.
    func send(_ block: StreamBlock) {
        guard !block.isEmpty else { return self.flush() }
        self.headLimiter.context?.writeAndFlush(NIOAny(block.payload), promise: nil)
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
