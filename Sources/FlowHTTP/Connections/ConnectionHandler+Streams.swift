import FlowCore
import HTTPTypes
import Hummingbird
import NIOCore

extension ConnectionHandler {
    // MARK: Event streams

    /// Parses and authenticates a request for an event stream whose target names its flows. Answers a malformed request with a
    /// problem, with or without a token. While the hub drains, closes the connection without a response.
    func openStream(_ head: RequestHead, target: RequestPath) {
        let admission = self.loop.admission
        if admission.declinesWhileDraining() {
            self.declineWhileDraining()
            return
        }
        self.machine.admitting()
        let request: StreamRequest
        do throws(StreamRequest.Malformed) {
            request = try admission.parse(head.request, target: target, remote: self.clientAddress(of: head.request))
        } catch {
            self.answerInsteadOfStream(HTTPProblem(error))
            return
        }
        switch admission.authenticate(head.request, target: target, isSecure: self.isSecure(head.request)) {
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

    /// Parses the body of a request for an event stream, which names its flows. The token was verified at the head.
    func openStream(_ reading: BodyInProgress) {
        self.machine.admitting()
        let access = reading.request.access
        if case .denied(let error) = access {
            self.answerInsteadOfStream(HTTPProblem(error))
            return
        }
        let remote = self.clientAddress(of: reading.request.head.request)
        let limits = JSONLimits(maximumDepth: self.loop.configuration.maximumJSONDepth)
        let maximumFlows = self.loop.shard.services.configuration.maximumFlowsInBody
        let body = Array(reading.bytes.readableBytesView)
        guard body.count > Request.largeBodyBytes else {
            self.admit(
                Result { () throws(StreamRequest.Malformed) in
                    try StreamRequest(body: body, maximumFlows: maximumFlows, limits: limits)
                }, access, remote: remote)
            return
        }
        let boundSelf = NIOLoopBound(self, eventLoop: self.loop.loop)
        Task.detached {
            let parsed = Result { () throws(StreamRequest.Malformed) in
                try StreamRequest(body: body, maximumFlows: maximumFlows, limits: limits)
            }
            boundSelf.eventLoop.execute { boundSelf.value.admit(parsed, access, remote: remote) }
        }
    }

    /// Continues with a request whose body was parsed, and is not needed any more.
    private func admit(_ parsed: Result<StreamRequest, StreamRequest.Malformed>, _ access: RequestAccess, remote: String) {
        self.releaseBody()
        guard self.machine.phase == .admitting else { return }
        switch parsed {
        case .success(var request):
            request.remote = remote
            self.admit(request, access)
        case .failure(let error): self.answerInsteadOfStream(HTTPProblem(error))
        }
    }

    /// Opens the stream of an authenticated request, or answers as the admission has decided. The machine must be *admitting*.
    func admit(_ request: StreamRequest, _ access: RequestAccess) {
        guard self.machine.phase == .admitting else { return }
        let admission = self.loop.admission
        switch admission.admit(request, access, isHead: self.isHead, record: self.record) {
        case .drain: self.declineWhileDraining()
        case .problem(let problem): self.answerInsteadOfStream(problem)
        case .head(nil): self.answerHead(hasEnded: false)
        case .head(let claim?):
            let boundSelf = NIOLoopBound(self, eventLoop: self.loop.loop)
            let services = self.loop.shard.services
            services.perform {
                let hasEnded = await claim.isConfirmed(by: services.manager)
                boundSelf.eventLoop.execute { boundSelf.value.answerHead(hasEnded: hasEnded) }
            }
        case .full(let block):
            let transport = self.streamTransport()
            transport.startResponse()
            transport.write(block)
            self.logAnswer(.ok, reason: ClosingReason.full.rawValue, bytes: block.size)
            transport.finish()
        case .open(let admitted):
            self.machine.opening()
            self.isAuthenticated = true
            self.useAccount(admitted.principal.account)
            let output = self.output(self.streamTransport(), ofStream: admitted.number, request.flows)
            let stream = admission.open(admitted, output: output)
            self.exchange = .streaming(stream)
            self.loop.shard.open(stream)
        }
    }

    /// Answers HEAD with the head of the response that GET would have.
    private func answerHead(hasEnded: Bool) {
        guard self.machine.phase == .admitting else { return }
        var response = HTTPResponse(status: hasEnded ? .noContent : .ok)
        if !hasEnded { response.headerFields = HTTP1StreamTransport.fields }
        self.logAnswer(response.status)
        self.answerInsteadOfStream(response, body: nil)
    }

    private func streamTransport() -> HTTP1StreamTransport {
        HTTP1StreamTransport(self, fields: self.loop.admission.access.cors.headers(for: self.origin))
    }

    /// Closes the connection without a response.
    private func declineWhileDraining() {
        self.logAnswer(nil, reason: ClosingReason.drain.rawValue)
        self.closeNow()
    }

    /// Answers a request for a stream with a problem instead of a stream.
    private func answerInsteadOfStream(_ problem: HTTPProblem) {
        var problem = problem
        problem.requestID = self.requestID
        let body = ByteBuffer(bytes: problem.document.bytes)
        self.logAnswer(problem, bytes: body.readableBytes)
        self.answerInsteadOfStream(problem.response.head, body: body)
    }

    /// Answers a request for a stream with an ordinary response, without the router.
    func answerInsteadOfStream(_ response: HTTPResponse, body: ByteBuffer?) {
        guard self.context != nil, self.machine.streamDeclined() else { return }
        self.exchange = .none
        self.loop.requests.observe(route: "stream", status: response.status.code, duration: .zero)
        var head = self.withCORS(response)
        head.headerFields[.date] = self.loop.httpDate
        head.headerFields[.requestID] = self.requestID
        if self.machine.responseBegins(isDraining: self.loop.isDraining) { head.headerFields[.connection] = "close" }
        self.write(head)
        if let body, !self.isHead { self.write(body) }
        self.finishResponse()
    }

    // MARK: For the transport

    /// The stream begins: its response head was encoded and is written next. From now on the connection carries only the stream.
    func streamBegins() {
        self.requestID = ""
        self.origin = nil
        self.loop.closed(self)
        self.machine.streaming()
        self.countPipelined()
        self.countResponseBytes(0)
        self.resumeReading()
        // Not now: the decoder may be in the middle of this request, and a stream may end at once.
        self.loop.loop.assumeIsolated().execute { self.removeDecoder() }
    }

    /// The last bytes of the stream were written. Waits for the next request, or closes the connection with a lingering close, so
    /// that the client receives the last events.
    /// - Parameter isFramed: whether the client can tell the end of the stream from the end of the connection.
    func streamEnded(isFramed: Bool) {
        self.exchange = .none
        guard self.machine.phase != .closed else { return }
        let hasRoom = self.loop.ordinaryCount < self.loop.configuration.maximumOrdinaryConnections
        self.loop.opened(self)
        let action = self.machine.streamEnded(
            keeps: isFramed && hasRoom && !self.loop.isDraining, isDecoding: self.decoder.isPresent,
            queuedBytes: self.queuedBytes, at: .now(), self.loop.configuration)
        if action == .next { self.restoreDecoder() } else { self.hasRestOfStream = true }
        self.perform(action)
    }
}
