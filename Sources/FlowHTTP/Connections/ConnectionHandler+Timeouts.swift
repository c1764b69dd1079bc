import FlowCore
import NIOCore

/// What a connection checks every second.
extension ConnectionHandler {
    /// Counts unread responses, and checks the upload of an import, the response in progress and the deadline of the phase.
    func tick(_ now: NIODeadline) {
        self.measureResponses()
        self.checkUpload(now)
        self.checkResponse()
        let action = self.machine.tick(
            at: now,
            RequestMachine.Progress(
                queuedBytes: self.queuedBytes, hasReceivedBytes: self.headLimiter.hasReceivedBytes,
                isWriterWaiting: self.writer != nil, isBodyFull: self.upload?.body.isFull ?? false),
            self.loop.configuration)
        self.perform(action)
    }

    /// Ends the upload of an import whose token has expired or was revoked, or which takes too long.
    private func checkUpload(_ now: NIODeadline) {
        guard let failure = self.upload?.failure(at: now, self.loop.application.access, self.loop.configuration) else { return }
        self.failUpload(failure)
    }

    /// Closes the connection if the token of the request whose response is being sent has expired or was revoked, or if the
    /// client reads the response too slowly.
    private func checkResponse() {
        guard self.machine.phase == .responding || self.machine.phase == .flushing else { return }
        if !self.unsentHead.isWaiting, let reader = self.reader, (try? self.loop.application.access.check(reader)) == nil {
            return self.closeNow()
        }
        guard self.writer != nil || self.machine.phase == .flushing else { return }
        if self.responsePace.isTooSlow(unread: self.queuedBytes, self.loop.configuration) { self.closeNow() }
    }
}
