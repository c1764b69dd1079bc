import FlowCore
import HTTPTypes

/// Request ids and the access log.
extension ConnectionHandler {
    /// Gives a request its id, keeps what its response depends on, and begins its record in the access log.
    /// - Parameter head: `nil` if the request could not be parsed.
    func beginRequest(_ head: HTTPRequest?) {
        self.origin = head?.headerFields[.origin]
        self.isHead = head?.method == .head
        let sent = self.isFromTrustedProxy ? head.flatMap { RequestID.sent(in: $0.headerFields) } : nil
        self.requestID = sent ?? RequestID.make()
        if let head {
            self.loop.application.rejections.logOrigin(of: head, id: self.requestID, remote: self.clientAddress(of: head))
        }
        guard let log = self.loop.accessLog else { return }
        self.record = log.record(of: head, id: self.requestID, remote: head.map { self.clientAddress(of: $0) } ?? self.peer)
    }

    /// Whether the client is known to use https: a trusted proxy states it in a header field or in the PROXY protocol.
    func isSecure(_ head: HTTPRequest) -> Bool {
        self.usesTLSAtProxy || (self.isBehindTrustedProxy && TrustedProxies.stateHTTPS(head.headerFields))
    }

    /// Logs that a request was answered with a problem before it reached a route, and why.
    /// - Parameter bytes: the size of the response's body.
    func logAnswer(_ problem: HTTPProblem, bytes: Int) {
        self.loop.application.rejections.log(problem, id: self.requestID, remote: self.peer)
        self.record?.set(\.code, problem.code)
        self.logAnswer(problem.status, bytes: bytes)
    }

    /// Logs a request that did not reach a route and did not become an event stream.
    /// - Parameters:
    ///   - status: `nil` if the connection is closed without a response.
    ///   - reason: as in `closing`, if that was sent or the connection was closed.
    ///   - bytes: the size of the response's body.
    func logAnswer(_ status: HTTPResponse.Status?, reason: String? = nil, bytes: Int = 0) {
        guard let record = self.record else { return }
        self.record = nil
        record.sent(bytes)
        self.loop.accessLog?.answered(record, status, reason: reason)
    }

    /// The output of a new event stream: its transport, or if it is logged a ``LoggedStream`` before it, so that a stream that
    /// is not logged is not measured.
    func output(_ transport: HTTP1StreamTransport, ofStream number: UInt64, _ flows: [FlowID]) -> any StreamOutput {
        guard let log = self.loop.accessLog, let record = self.record else { return transport }
        self.record = nil
        let connection = ConnectionID(instance: self.loop.shard.services.instance, number: number)
        return LoggedStream(transport, record: record, connection: connection, flows: flows, log: log)
    }
}
