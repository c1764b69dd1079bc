import FlowCore
import NIOCore

#if canImport(Glibc)
import Glibc
#endif

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

    func startResponse(extraHeaders: [(name: String, value: String)]) { self.output.startResponse(extraHeaders: extraHeaders) }
    func reject(_ rejection: StreamRejection) { self.output.reject(rejection) }
    func flush() { self.output.flush() }
    func finish() { self.output.finish() }
    func abort() { self.output.abort() }

    func write(_ buffer: ByteBuffer) {
        self.count(buffer)
        self.output.write(buffer)
    }

    func send(_ buffer: ByteBuffer) {
        self.count(buffer)
        self.output.send(buffer)
    }

    /// Logs the end.
    func ended(_ ending: StreamEnding) { self.log.ended(self, ending) }

    private func count(_ buffer: ByteBuffer) {
        self.bytes += buffer.readableBytes
        self.events += Self.eventCount(in: buffer)
    }

    /// The number of lines that begin with `event:`, which each event has. Every write consists of whole lines, and no other
    /// field of an event stream begins with this letter.
    static func eventCount(in buffer: ByteBuffer) -> Int {
        buffer.withUnsafeReadableBytes { bytes in
            guard let base = bytes.baseAddress else { return 0 }
            var count = 0
            var line = 0
            while line < bytes.count {
                if bytes[line] == UInt8(ascii: "e") { count += 1 }
                guard let end = memchr(base + line, CInt(UInt8(ascii: "\n")), bytes.count - line) else { break }
                line = UnsafeRawPointer(end) - base + 1
            }
            return count
        }
    }
}
