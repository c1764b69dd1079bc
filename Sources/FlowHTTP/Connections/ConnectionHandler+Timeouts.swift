import FlowCore
import NIOCore

/// The timeouts of the states.
extension ConnectionHandler {
    /// Starts a timeout for the client to read some of the queued bytes.
    func startWriteTimeout(_ time: TimeAmount) {
        self.unsentBytes = self.queuedBytes
        self.deadline = .now() + time
    }

    /// Counts unread responses, and checks the upload of an import, the response in progress and the deadline of the state. Called
    /// every second.
    func tick(_ now: NIODeadline) {
        self.measureResponses()
        self.checkUpload(now)
        self.checkResponse()
        self.checkDeadline(now)
    }

    /// Rejects the request or closes the connection if the deadline of its state has passed.
    private func checkDeadline(_ now: NIODeadline) {
        guard now >= self.deadline, let context = self.context else { return }
        switch self.state {
        case .flushing:
            // A client that has read some bytes is slow: extend the deadline. A client that has read none is dead or hostile:
            // close the connection.
            if self.queuedBytes < self.unsentBytes {
                self.startWriteTimeout(self.writeTimeout)
            } else {
                context.close(promise: nil)
            }
        case .idle:
            if self.headLimiter.hasReceivedBytes { self.rejectAndClose(.tooSlow) } else { context.close(promise: nil) }
        case .reading: self.rejectAndClose(.tooSlow)
        case .discarding: self.lingeringClose()
        case .receiving(_, let bodyStream):
            // While the buffer is full, the client waits for the hub and is not too slow: restart the timeout of the body.
            guard !bodyStream.isFull else {
                self.deadline = now + .seconds(Int64(self.loop.configuration.bodyTimeoutSeconds))
                return
            }
            self.dropBody()
            bodyStream.fail(HTTPProblem.tooSlow)
        case .responding:
            guard self.writer != nil else { return }
            if self.queuedBytes < self.unsentBytes {
                self.startWriteTimeout(self.writeTimeout)
            } else {
                context.close(promise: nil)
            }
        case .lingeringClose:
            // A slow client still reads the end of the response.
            if self.queuedBytes > 0, self.queuedBytes < self.unsentBytes {
                self.startWriteTimeout(self.writeTimeout)
            } else {
                context.close(promise: nil)
            }
        case .verifying, .admitting, .streaming, .closed: break
        }
    }
}
