import FlowCore
import HTTPTypes
import Hummingbird
import NIOCore

/// Rejections of requests that were not read whole, and the end of the connection.
extension ConnectionHandler {
    /// Rejects a request before it was read whole, and closes the connection. A lingering close discards the rest of the
    /// request: an immediate close would reset the connection, and the client could lose the response.
    func rejectAndClose(_ problem: HTTPProblem) {
        guard self.context != nil else { return }
        if self.requestID.isEmpty { self.beginRequest(nil) }
        var problem = problem
        problem.requestID = self.requestID
        self.loop.requests.observe(route: "refused", status: problem.status.code, duration: .zero)
        self.machine.rejected()
        self.exchange = .none
        self.headLimiter.awaitsHead = false
        self.releaseBody()
        var head = self.withCORS(problem.response.head)
        head.headerFields[.connection] = "close"
        head.headerFields[.date] = self.loop.httpDate
        let body = self.isHead ? ByteBuffer() : ByteBuffer(bytes: problem.document.bytes)
        self.write(head)
        self.write(body)
        self.writeEnd()
        self.logAnswer(problem, bytes: body.readableBytes)
        self.linger(.short)
    }

    /// Closes the sending side, and discards input until the client closes its side or the timeout expires.
    func linger(_ time: RequestMachine.Linger) {
        guard let context = self.context else { return }
        // If the last write failed, `channelInactive` has already run and the connection is closed.
        if self.machine.phase == .closed { return }
        self.machine.linger(time, queuedBytes: self.queuedBytes, at: .now(), self.loop.configuration)
        self.countPipelined()
        self.releaseBody()
        self.loop.mayEvict(self)
        context.close(mode: .output, promise: nil)
        if self.machine.hasInputEnded { context.close(promise: nil) } else { self.resumeReading() }
    }

    // MARK: Drain

    /// Whether a request is being read or answered.
    var isBusy: Bool {
        switch self.machine.phase {
        case .verifying, .reading, .receiving, .responding, .flushing, .admitting: true
        case .idle, .discarding, .opening, .streaming, .lingering, .closed: false
        }
    }

    /// Whether the connection waits for a request, and nothing of it has arrived.
    var isIdle: Bool { self.machine.phase == .idle && !self.headLimiter.hasReceivedBytes }

    /// Closes the connection immediately, also during a request.
    func closeNow() { self.context?.close(promise: nil) }

    /// Accepts no further request. Closes the connection now if no request has begun, else after the response.
    func quiesce() {
        self.perform(self.machine.quiesce(hasReceivedBytes: self.headLimiter.hasReceivedBytes, queuedBytes: self.queuedBytes))
    }
}
