import FlowCore
import HTTPTypes
import Hummingbird
import NIOCore
import NIOHTTPTypes

/// An ordinary request whose body is being read.
struct OrdinaryRequest {
    let head: HTTPRequest
    let access: RequestAccess

    /// Whether the body is kept. It is discarded if no route takes it, or if the request is rejected anyway.
    var keepsBody: Bool {
        if case .granted = self.access { true } else { false }
    }
}

extension ConnectionHandler {
    /// Size up to which the declared body of a rejected request is discarded to keep the connection open.
    private static let discardedBodyLimit = 65_536

    /// Decides about the access of an ordinary request from its head.
    func authorize(_ head: HTTPRequest, target: RequestPath) {
        let access = self.loop.application.access
        switch access.decide(head, target: target, isSecure: self.isSecure(head)) {
        case .decided(let decision): self.proceed(with: head, path: target.path, decision)
        case .unverified(let token):
            IdleConnectionList.remove(self)
            self.state = .verifying
            self.deadline = .distantFuture
            let boundSelf = NIOLoopBound(self, eventLoop: self.loop.loop)
            // Verifying a signature takes about 0.1 ms of CPU time, so it runs outside the event loop.
            Task {
                let decision = await access.verify(token)
                boundSelf.eventLoop.execute { boundSelf.value.verified(head, decision) }
            }
        }
    }

    /// Continues with a request whose token was verified, and with the parts that arrived meanwhile.
    private func verified(_ head: HTTPRequest, _ decision: RequestAccess) {
        guard case .verifying = self.state else { return }
        // Every path below either sets another state or discards the rest of the input.
        self.state = .idle
        self.proceed(with: head, path: RequestPath(head.path ?? "").path, decision)
        self.processPipelined()
        if !self.isPipelineFull { self.resumeReading() }
    }

    /// Starts to read the body of a request, or to stream that of an import; or rejects the request.
    private func proceed(with head: HTTPRequest, path: Substring, _ access: RequestAccess) {
        let configuration = self.loop.configuration
        let length = head.headerFields[.contentLength].flatMap { Int($0) }
        switch access {
        case .granted(let principal):
            IdleConnectionList.remove(self)
            self.isAuthenticated = true
            self.useAccount(principal.account)
            self.record?.set(\.principal, principal)
            // Without keys there is one account, which may use all connections.
            guard principal.isOpen || self.loop.occupy(self, for: principal.account) else {
                self.loop.budgets.countRefusal()
                self.rejectAndClose(
                    .accountConnectionsFull(configuration), cors: head.headerFields[.origin], isHead: head.method == .head)
                return
            }
            let isImport = Self.streamsRequestBody(method: head.method, path: path)
            let expected = isImport ? configuration.importBufferBytes : min(length ?? 0, configuration.maximumBodyBytes)
            if expected > Self.discardedBodyLimit,
                let excess = self.loop.budgets.bodies.excess(adding: expected, of: self.account)
            {
                self.loop.budgets.bodies.countExcess(excess)
                self.rejectAndClose(.bodiesFull(excess, configuration), cors: head.headerFields[.origin])
                return
            }
            if isImport {
                self.receive(head, from: principal)
                return
            }
        case .denied(let error):
            self.loop.mayEvict(self)
            self.useAccount(ConnectionBudgets.noAccount)
            if (length ?? 0) > 0 || head.headerFields[.transferEncoding] != nil {
                self.refuse(HTTPProblem(error), head, length: length)
                return
            }
        case .notNeeded:
            self.useAccount(ConnectionBudgets.noAccount)
        }
        if let length, length > configuration.maximumBodyBytes {
            self.rejectAndClose(
                .bodyTooLarge(configuration.maximumBodyBytes), cors: head.headerFields[.origin], isHead: head.method == .head)
            return
        }
        if head.headerFields[.expect]?.lowercased() == "100-continue" {
            self.context?.writeAndFlush(self.wrapOutboundOut(.head(HTTPResponse(status: .continue))), promise: nil)
        }
        self.deadline = .now() + .seconds(Int64(configuration.bodyTimeoutSeconds))
        self.discardedBodyBytes = 0
        self.state = .reading(OrdinaryRequest(head: head, access: access), ByteBuffer())
    }

    /// Answers a request that has a body and no access, at once. A small body is then discarded; otherwise the connection is
    /// closed.
    private func refuse(_ problem: HTTPProblem, _ head: HTTPRequest, length: Int?) {
        let origin = head.headerFields[.origin]
        guard let context = self.context, let length, length <= Self.discardedBodyLimit, head.headerFields[.expect] == nil,
            head.method != .head
        else {
            self.rejectAndClose(problem, cors: origin, isHead: head.method == .head)
            return
        }
        self.loop.requests.observe(route: "refused", status: problem.status.code, duration: .zero)
        let keepAlive = !self.closesAfterResponse(head)
        var problem = problem
        problem.requestID = self.requestID
        let body = ByteBuffer(bytes: problem.document.bytes)
        var fields = self.withCORS(problem, origin: origin).response.head
        fields.headerFields[.date] = self.loop.httpDate
        if !keepAlive { fields.headerFields[.connection] = "close" }
        self.state = .discarding(keepAlive: keepAlive)
        self.deadline = .now() + .seconds(Int64(self.loop.configuration.headTimeoutSeconds))
        context.write(self.wrapOutboundOut(.head(fields)), promise: nil)
        context.write(self.wrapOutboundOut(.body(body)), promise: nil)
        context.writeAndFlush(self.wrapOutboundOut(.end(nil)), promise: nil)
        self.logAnswer(problem, bytes: body.readableBytes)
    }

    /// Waits for the next request after the body of a rejected request was discarded, or closes the connection.
    func rejectedBodyEnded(keepAlive: Bool) {
        if !keepAlive || self.isLast {
            self.lingeringClose()
        } else if self.isWritable {
            self.becomeIdle()
        } else {
            self.waitForFlush()
        }
    }

    /// The problem with the CORS header fields for a page of this origin, which could not read the response otherwise.
    func withCORS(_ problem: HTTPProblem, origin: String?) -> HTTPProblem {
        var problem = problem
        for field in self.loop.application.access.cors.headers(for: origin) { problem.headers[field.name] = field.value }
        return problem
    }

    // MARK: Imports

    /// Ends the upload of an import whose token has expired or was revoked, or which takes too long. Called every second.
    func checkUpload(_ now: NIODeadline) {
        guard case .receiving(_, let bodyStream) = self.state, let uploader = self.uploader else { return }
        let configuration = self.loop.configuration
        do throws(AccessError) {
            try self.loop.application.access.check(uploader)
        } catch {
            self.dropBody()
            bodyStream.fail(error)
            return
        }
        switch self.uploadPace?.check(now: now, isWaiting: bodyStream.isWaiting, configuration) {
        case nil, .inTime: break
        case .tooSlow:
            self.dropBody()
            bodyStream.fail(HTTPProblem.uploadTooSlow(configuration))
        case .tooLong:
            self.dropBody()
            bodyStream.fail(HTTPProblem.uploadTooLong(configuration))
        }
    }

    // MARK: Responses

    /// Closes the connection if the token of the request whose response is being sent has expired or was revoked, or if the
    /// client reads the response too slowly. Called every second.
    func checkResponse() {
        switch self.state {
        case .responding, .flushing: break
        default: return
        }
        if self.unsentHead == nil, let reader = self.reader, (try? self.loop.application.access.check(reader)) == nil {
            return self.closeNow()
        }
        guard self.writer != nil || self.isFlushing else { return }
        let unread = self.queuedBytes
        if self.responsePace.isTooSlow(unread: unread, self.loop.configuration) { self.closeNow() }
    }
}
