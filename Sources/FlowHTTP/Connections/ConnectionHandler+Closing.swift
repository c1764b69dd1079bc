import FlowCore
import HTTPTypes
import Hummingbird
import NIOCore
import NIOHTTPTypes

/// Rejections of requests that were not read whole, and the end of the connection.
extension ConnectionHandler {
    /// Rejects a request before it was read whole, and closes the connection. A lingering close discards the rest of the
    /// request: an immediate close would reset the connection, and the client could lose the response.
    /// - Parameters:
    ///   - origin: the request's `Origin`, for the CORS header fields.
    ///   - isHead: whether the request's method is HEAD, so that the response has no body.
    func rejectAndClose(_ problem: HTTPProblem, cors origin: String? = nil, isHead: Bool = false) {
        guard let context = self.context else { return }
        if self.requestID.isEmpty { self.beginRequest(nil) }
        var problem = problem
        problem.requestID = self.requestID
        self.loop.requests.observe(route: "refused", status: problem.status.code, duration: .zero)
        self.state = .lingeringClose
        self.headLimiter.awaitsHead = false
        self.discardPipelined()
        self.releaseBody()
        var head = (origin == nil ? problem : self.withCORS(problem, origin: origin)).response.head
        head.headerFields[.connection] = "close"
        head.headerFields[.date] = self.loop.httpDate
        context.write(self.wrapOutboundOut(.head(head)), promise: nil)
        let body = ByteBuffer(bytes: problem.document.bytes)
        if !isHead { context.write(self.wrapOutboundOut(.body(body)), promise: nil) }
        context.writeAndFlush(self.wrapOutboundOut(.end(nil)), promise: nil)
        self.logAnswer(problem, bytes: isHead ? 0 : body.readableBytes)
        self.lingeringClose()
    }

    /// Time for the client to close its side after the last bytes were sent.
    static let lingeringCloseTimeout = TimeAmount.seconds(3)
    /// Time in which the client must read some bytes of a response; otherwise the connection is closed.
    var writeTimeout: TimeAmount { .seconds(Int64(self.loop.configuration.answerTimeoutSeconds)) }

    /// Closes the sending side, and discards input until the client closes its side or the timeout expires.
    func lingeringClose(timeout time: TimeAmount = ConnectionHandler.lingeringCloseTimeout) {
        guard let context = self.context else { return }
        // If the last write failed, `channelInactive` has already run and the connection is closed.
        if case .closed = self.state { return }
        self.state = .lingeringClose
        self.discardPipelined()
        self.releaseBody()
        self.startWriteTimeout(time)
        // If the connection carried a stream, the loop did not check its deadline until now.
        self.loop.opened(self)
        self.loop.mayEvict(self)
        context.close(mode: .output, promise: nil)
        if self.inputClosed {
            context.close(promise: nil)
        } else {
            self.resumeReading()
        }
    }

    // MARK: Drain

    /// Whether a request is being read or answered.
    var isBusy: Bool {
        switch self.state {
        case .verifying, .reading, .receiving, .responding, .flushing, .admitting: true
        case .idle, .discarding, .streaming, .lingeringClose, .closed: false
        }
    }

    /// Whether the connection waits for a request, and nothing of it has arrived.
    var isIdle: Bool {
        if case .idle = self.state { !self.headLimiter.hasReceivedBytes } else { false }
    }

    /// Closes the connection immediately, also during a request.
    func closeNow() { self.context?.close(promise: nil) }

    /// Accepts no further request. Closes the connection now if no request has begun, else after the response.
    func quiesce() {
        self.isQuiescing = true
        guard case .idle = self.state, !self.headLimiter.hasReceivedBytes else { return }
        // The end of the last response may not have been passed to the socket yet.
        if self.queuedBytes > 0 { self.lingeringClose(timeout: self.writeTimeout) } else { self.context?.close(promise: nil) }
    }
}
