import FlowCore
import HTTPTypes
import Hummingbird
import NIOCore

/// An ordinary request whose body is being read.
struct OrdinaryRequest {
    let head: RequestHead
    let access: RequestAccess

    /// Whether the body is kept. It is discarded if no route takes it, or if the request is rejected anyway.
    var keepsBody: Bool {
        if case .granted = self.access { true } else { false }
    }
}

extension ConnectionHandler {
    /// Size up to which the declared body of a rejected request is discarded to keep the connection open.
    private static let discardedBodyLimit = 65_536

    /// Processes a request head: rejects it, opens an event stream, or decides about the access of an ordinary request.
    func begin(_ head: RequestHead) {
        self.headLimiter.awaitsHead = false
        let request = head.request
        self.beginRequest(request)
        let target = request.path ?? ""
        if target.utf8.count > self.loop.configuration.maximumURIBytes {
            self.rejectAndClose(.uriTooLong(self.loop.configuration))
            return
        }
        guard target.utf8.first == UInt8(ascii: "/") else {
            self.rejectAndClose(.malformed)
            return
        }
        // The size of the fields on the wire: each is name, colon, space, value, CRLF.
        let headerBytes = request.headerFields.reduce(0) { $0 + $1.name.rawName.utf8.count + $1.value.utf8.count + 4 }
        guard headerBytes <= self.loop.configuration.maximumHeaderBytes else {
            self.rejectAndClose(.headersTooLarge(self.loop.configuration))
            return
        }
        let requestPath = RequestPath(target)
        let path = requestPath.path
        if let rejection = self.application.access.pages?.rejection(of: request, path: path) {
            // No page may read this response.
            self.origin = nil
            self.rejectAndClose(HTTPProblem(rejection, of: request))
            return
        }
        if !self.isOperations, StreamRequest.isStream(method: request.method, path: path) {
            IdleConnectionList.remove(self)
            self.openStream(head, target: requestPath)
            return
        }
        if self.isReserve, self.loop.isOverLimit, !path.hasPrefix("/health/"), path != "/metrics",
            !StreamRequest.isStreamWithBody(method: request.method, path: path)
        {
            self.loop.budgets.countRefusal()
            self.rejectAndClose(.connectionsFull(self.loop.configuration))
            return
        }
        self.authorize(head, target: requestPath)
    }

    /// Decides about the access of an ordinary request from its head.
    private func authorize(_ head: RequestHead, target: RequestPath) {
        let access = self.loop.application.access
        switch access.decide(head.request, target: target, isSecure: self.isSecure(head.request)) {
        case .decided(let decision): self.proceed(with: head, path: target.path, decision)
        case .unverified(let token):
            IdleConnectionList.remove(self)
            self.machine.verifying()
            let boundSelf = NIOLoopBound(self, eventLoop: self.loop.loop)
            // Verifying a signature takes about 0.1 ms of CPU time, so it runs outside the event loop.
            Task {
                let decision = await access.verify(token)
                boundSelf.eventLoop.execute { boundSelf.value.verified(head, decision) }
            }
        }
    }

    /// Continues with a request whose token was verified, and with the parts that arrived meanwhile.
    private func verified(_ head: RequestHead, _ decision: RequestAccess) {
        guard self.machine.verified() else { return }
        self.proceed(with: head, path: RequestPath(head.request.path ?? "").path, decision)
        self.processPipelined()
    }

    /// Starts to read the body of a request, or to stream that of an import; or rejects the request.
    private func proceed(with head: RequestHead, path: Substring, _ access: RequestAccess) {
        let length = head.contentLength
        switch access {
        case .granted(let principal):
            IdleConnectionList.remove(self)
            self.isAuthenticated = true
            self.useAccount(principal.account)
            self.record?.set(\.principal, principal)
            // Without keys there is one account, which may use all connections.
            guard principal.isOpen || self.loop.occupy(self, for: principal.account) else {
                self.loop.budgets.countRefusal()
                self.rejectAndClose(.accountConnectionsFull(self.loop.configuration))
                return
            }
            let isImport = Self.streamsRequestBody(method: head.request.method, path: path)
            let expected =
                isImport ? self.loop.configuration.importBufferBytes : min(length ?? 0, self.loop.configuration.maximumBodyBytes)
            if expected > Self.discardedBodyLimit,
                let excess = self.loop.budgets.bodies.excess(adding: expected, of: self.account)
            {
                self.loop.budgets.bodies.countExcess(excess)
                self.rejectAndClose(.bodiesFull(excess, self.loop.configuration))
                return
            }
            if isImport {
                self.receive(head, from: principal)
                return
            }
        case .denied(let error):
            self.loop.mayEvict(self)
            self.useAccount(ConnectionBudgets.noAccount)
            if (length ?? 0) > 0 || head.request.headerFields[.transferEncoding] != nil {
                self.refuse(HTTPProblem(error), head)
                return
            }
        case .notNeeded:
            self.useAccount(ConnectionBudgets.noAccount)
        }
        if let length, length > self.loop.configuration.maximumBodyBytes {
            self.rejectAndClose(.bodyTooLarge(self.loop.configuration.maximumBodyBytes))
            return
        }
        if head.expectsContinue { self.context?.writeAndFlush(self.wrapOutboundOut(ResponseEncoder.goOn), promise: nil) }
        self.exchange = .reading(BodyInProgress(OrdinaryRequest(head: head, access: access)))
        self.machine.readBody(at: .now(), self.loop.configuration)
    }

    /// Answers a request that has a body and no access, at once. A small body is then discarded; otherwise the connection is
    /// closed.
    private func refuse(_ problem: HTTPProblem, _ head: RequestHead) {
        guard self.context != nil, let length = head.contentLength, length <= Self.discardedBodyLimit,
            head.request.headerFields[.expect] == nil, !self.isHead
        else {
            self.rejectAndClose(problem)
            return
        }
        self.loop.requests.observe(route: "refused", status: problem.status.code, duration: .zero)
        var problem = problem
        problem.requestID = self.requestID
        let body = ByteBuffer(bytes: problem.document.bytes)
        var fields = self.withCORS(problem.response.head)
        fields.headerFields[.date] = self.loop.httpDate
        self.machine.discardBody(at: .now(), self.loop.configuration)
        if self.machine.responseBegins(isDraining: self.loop.isDraining) { fields.headerFields[.connection] = "close" }
        self.write(fields)
        self.write(body)
        self.context?.flush()
        self.logAnswer(problem, bytes: body.readableBytes)
    }

    /// What answers the requests of this connection.
    var application: HTTPApplication { self.isOperations ? self.loop.operations : self.loop.application }

    /// The head of a response with the CORS header fields for the page that has sent the request, which could not read the
    /// response otherwise.
    func withCORS(_ head: HTTPResponse) -> HTTPResponse {
        var head = head
        for field in self.application.access.cors.headers(for: self.origin) { head.headerFields[field.name] = field.value }
        return head
    }
}
