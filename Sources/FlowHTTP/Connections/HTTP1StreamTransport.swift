import FlowCore
import HTTPTypes
import NIOCore

/// An event stream over HTTP/1.1: the response to one request of a ``ConnectionHandler``.
///
/// A client of HTTP/1.1 is sent one chunk for each write, so that what reads by chunks hears of each event at once, and the
/// connection is used again after the stream. For HTTP/1.0, and if the request has `Connection: close`, the stream ends with the
/// connection.
final class HTTP1StreamTransport: StreamOutput {
    private let connection: ConnectionHandler
    private let isChunked: Bool
    /// Further header fields of the response: those of CORS, if it applies.
    private let fields: HTTPFields

    /// - Parameters:
    ///   - connection: the connection, whose machine is *admitting*.
    ///   - fields: further header fields of the response.
    init(_ connection: ConnectionHandler, fields: HTTPFields) {
        self.connection = connection
        self.isChunked = connection.machine.carriesChunks
        self.fields = fields
    }

    var isWritable: Bool { self.connection.isWritable }
    var queuedBytes: Int { self.connection.queuedBytes }

    /// Writes the response head.
    func startResponse() {
        var head = ByteBufferAllocator().buffer(capacity: 256)
        head.writeStaticString("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n")
        head.writeStaticString(self.isChunked ? "Transfer-Encoding: chunked\r\n" : "Connection: close\r\n")
        head.writeStaticString("Cache-Control: no-store, no-transform\r\nX-Accel-Buffering: no\r\nDate: ")
        head.writeString(self.connection.loop.httpDate)
        head.writeStaticString("\r\nX-Request-ID: ")
        head.writeString(self.connection.requestID)
        for field in self.fields { head.writeString("\r\n\(field.name.rawName): \(field.value)") }
        head.writeStaticString("\r\n\r\n")
        self.connection.streamBegins()
        self.connection.context?.write(NIOAny(head), promise: nil)
    }

    /// Answers with 204 instead of a stream.
    func reject(_ rejection: StreamRejection) {
        switch rejection {
        case .noContent: self.connection.answerInsteadOfStream(HTTPResponse(status: .noContent), body: nil)
        }
    }

    func write(_ block: StreamBlock) {
        guard !block.isEmpty else { return }
        self.connection.context?.write(NIOAny(self.isChunked ? block.chunk : block.payload), promise: nil)
    }

    func send(_ block: StreamBlock) {
        guard !block.isEmpty else { return self.flush() }
        self.connection.context?.writeAndFlush(NIOAny(self.isChunked ? block.chunk : block.payload), promise: nil)
    }

    func flush() { self.connection.context?.flush() }

    /// Ends the response, and leaves the connection to the next request or to a lingering close.
    func finish() {
        if self.isChunked { self.connection.context?.write(NIOAny(Self.lastChunk), promise: nil) }
        self.flush()
        self.connection.streamEnded(isFramed: self.isChunked)
    }

    /// Closes the connection immediately and drops the queued bytes.
    func abort() { self.connection.closeNow() }

    /// Does nothing: the stream tells it by its other calls. The access log has an output of its own.
    func ended(_ ending: StreamEnding) {}

    /// The header fields of every stream that the response to HEAD has, too.
    static var fields: HTTPFields {
        var fields: HTTPFields = [.contentType: "text/event-stream; charset=utf-8", .cacheControl: "no-store, no-transform"]
        if let buffering = HTTPField.Name("X-Accel-Buffering") { fields[buffering] = "no" }
        return fields
    }

    private static let lastChunk = ByteBuffer(staticString: "0\r\n\r\n")
}
