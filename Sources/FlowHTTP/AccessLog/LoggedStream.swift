import FlowCore

/// How an event stream ended.
enum StreamEnding: Sendable {
    /// The hub has closed it. If the reason is `full`, `closing` may not have been sent.
    case closed(ClosingReason)
    /// The client has disconnected, or the connection failed.
    case disconnected
    /// It did not start: 204, because every flow is terminal and the client has everything.
    case noContent

    /// The value of `reason` in the access log.
    var name: String {
        switch self {
        case .closed(let reason): reason.rawValue
        case .disconnected: "disconnected"
        case .noContent: "no_content"
        }
    }
}

/// The output of an event stream whose admission and end are logged. It counts what is written, so that without an access log
/// nothing is counted.
final class LoggedStream: StreamOutput {
    let record: RequestRecord
    /// The stream's id in the connection registry.
    let connection: ConnectionID
    let flows: [FlowID]
    /// Events written, control events included.
    private(set) var events = 0
    /// Bytes written, without the response head. The client may not have received the last ones.
    private(set) var bytes = 0

    private let log: AccessLog
    private let output: any StreamOutput

    /// Logs the admission.
    init(_ output: any StreamOutput, record: RequestRecord, connection: ConnectionID, flows: [FlowID], log: AccessLog) {
        self.output = output
        self.record = record
        self.connection = connection
        self.flows = flows
        self.log = log
        log.admitted(self)
    }

    var isWritable: Bool { self.output.isWritable }
    var queuedBytes: Int { self.output.queuedBytes }

    func startResponse() { self.output.startResponse() }
    func reject(_ rejection: StreamRejection) { self.output.reject(rejection) }
    func flush() { self.output.flush() }
    func finish() { self.output.finish() }
    func abort() { self.output.abort() }

    func write(_ block: StreamBlock) {
        self.count(block)
        self.output.write(block)
    }

    func send(_ block: StreamBlock) {
        self.count(block)
        self.output.send(block)
    }

    /// Logs the end.
    func ended(_ ending: StreamEnding) { self.log.ended(self, ending) }

    private func count(_ block: StreamBlock) {
        self.bytes += block.size
        self.events += block.eventCount
    }
}
