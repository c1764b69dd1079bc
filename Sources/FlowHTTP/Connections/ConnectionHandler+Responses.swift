import FlowCore
import HTTPTypes
import Hummingbird
import NIOCore

/// Writing the responses to ordinary requests.
extension ConnectionHandler {
    // MARK: For the task of a request

    /// Writes a response, including its body. Does nothing if the connection was closed. If the budget of responses has no
    /// room for it, writes a problem instead.
    /// - Returns: the status that was sent, and whether the whole response was written.
    func answer(_ response: Response, to ordinary: OrdinaryRequest, id: String, record: RequestRecord?) async -> (
        HTTPResponse.Status, isComplete: Bool
    ) {
        self.dropBody()
        guard self.machine.phase == .responding, self.context != nil else { return (response.status, false) }
        let writer = ConnectionResponseWriter(connection: NIOLoopBound(self, eventLoop: self.loop.loop))
        var head = response.head
        head.headerFields[.date] = self.loop.httpDate
        head.headerFields[.requestID] = id
        let isUntilClose = ResponseEncoder.endsWithConnection(head, readsChunks: ordinary.head.readsChunks)
        if self.machine.responseBegins(isDraining: self.loop.isDraining || isUntilClose) {
            head.headerFields[.connection] = "close"
        }
        // Sent with the first bytes of the body.
        self.unsentHead = .waiting(head)
        self.isAnsweringRead = ordinary.head.request.method == .get
        if self.isAnsweringRead, case .granted(let principal) = ordinary.access { self.reader = principal }
        if self.isHead || response.status == .noContent || response.status == .notModified {
            writer.end()
            return (response.status, true)
        }
        do {
            try await response.body.write(writer)
        } catch var problem as HTTPProblem where self.unsentHead.isWaiting {
            problem.requestID = id
            record?.set(\.code, problem.code)
            var replacement = self.withCORS(problem.response.head)
            replacement.headerFields[.date] = head.headerFields[.date]
            replacement.headerFields[.connection] = head.headerFields[.connection]
            self.unsentHead = .waiting(replacement)
            self.sendHead()
            let body = ByteBuffer(bytes: problem.document.bytes)
            record?.sent(body.readableBytes)
            self.write(body)
            writer.end()
            return (problem.status, true)
        } catch {
            // The response head was sent already, so an error can only be reported by closing the connection.
            self.closeNow()
            return (response.status, false)
        }
        return (response.status, true)
    }

    /// Writes a chunk of a response body. Suspends while the socket is not writable.
    /// - Throws: ``RequestBodyStream/Disconnected`` if the connection was closed; ``HTTPProblem`` if the budget of responses has
    ///   no room for the first chunk, so that nothing was written.
    fileprivate func writeBody(_ buffer: ByteBuffer) async throws {
        guard self.machine.phase == .responding, let context = self.context else { throw RequestBodyStream.Disconnected() }
        if self.unsentHead.isWaiting {
            try self.holdResponse(buffer.readableBytes)
            self.sendHead()
        }
        self.record?.sent(buffer.readableBytes)
        self.write(buffer)
        self.responsePace.sent(buffer.readableBytes)
        guard !self.isWritable else { return }
        context.flush()
        guard !self.isWritable, self.machine.phase == .responding else { return }
        self.measureResponses()
        self.machine.writeWaits(queuedBytes: self.queuedBytes, at: .now(), self.loop.configuration)
        try await withCheckedThrowingContinuation { self.writer = $0 }
        self.machine.writeGoesOn()
    }

    /// Resumes the task that waits in ``writeBody(_:)``.
    /// - Parameter error: the reason why nothing more can be written; `nil` if the socket is writable again.
    func resumeWriter(_ error: (any Error)?) {
        guard let writer = self.writer else { return }
        self.writer = nil
        if let error { writer.resume(throwing: error) } else { writer.resume() }
    }

    // MARK: Writing

    /// Writes a response head.
    func write(_ head: HTTPResponse) {
        let bytes = self.encoder.head(head, readsChunks: self.machine.readsChunks, hasBody: !self.isHead)
        self.context?.write(self.wrapOutboundOut(bytes), promise: nil)
    }

    /// Writes some of a response body.
    func write(_ body: ByteBuffer) {
        guard let context = self.context else { return }
        self.encoder.body(body) { context.write(self.wrapOutboundOut($0), promise: nil) }
    }

    /// Writes what follows the response body, and flushes.
    func writeEnd() {
        if let end = self.encoder.end { self.context?.write(self.wrapOutboundOut(end), promise: nil) }
        self.context?.flush()
    }

    /// Writes the response head, if it was not written yet.
    private func sendHead() {
        guard case .waiting(let head) = self.unsentHead else { return }
        self.unsentHead = .none
        self.write(head)
    }

    /// Completes the response, then processes the next request or closes the connection.
    func finishResponse() {
        guard self.machine.phase == .responding, self.context != nil else { return }
        self.sendHead()
        self.writeEnd()
        if self.countedResponseBytes > 0 || !self.isWritable { self.measureResponses() }
        self.responseWritten()
    }

    /// The response was written, and what was still missing of the request has arrived or is discarded.
    func responseWritten() {
        self.perform(
            self.machine.responseWritten(
                isWritable: self.isWritable, queuedBytes: self.queuedBytes, at: .now(), self.loop.configuration))
    }

    /// Waits for the next request.
    func becomeIdle() {
        self.responsePace = ResponsePace(unread: self.queuedBytes)
        self.reader = nil
        self.requestID = ""
        self.record = nil
        self.origin = nil
        self.isHead = false
        self.headLimiter.awaitsHead = true
        self.loop.mayEvict(self)
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
