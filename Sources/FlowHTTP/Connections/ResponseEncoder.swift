import HTTPTypes
import NIOCore

/// Encodes the ordinary responses of one HTTP/1.1 connection, one after the other.
struct ResponseEncoder {
    private enum Framing {
        /// `Content-Length`, or no body.
        case length
        case chunked
        /// The body ends with the connection.
        case untilClose
    }

    private var framing = Framing.length

    /// Whether a client of HTTP/1.0 finds the end of the response by the end of the connection.
    static func endsWithConnection(_ response: HTTPResponse, readsChunks: Bool) -> Bool {
        !readsChunks && Self.mayHaveBody(response.status) && response.headerFields[.contentLength] == nil
    }

    /// Encodes a response head.
    /// - Parameters:
    ///   - readsChunks: whether the client knows the transfer coding `chunked`.
    ///   - hasBody: `false` for the response to HEAD, whose head is that of the response to GET.
    mutating func head(_ response: HTTPResponse, readsChunks: Bool, hasBody: Bool) -> ByteBuffer {
        var fields = response.headerFields
        if !Self.mayHaveBody(response.status) {
            fields[.contentLength] = nil
            fields[.transferEncoding] = nil
            self.framing = .length
        } else if fields[.contentLength] != nil {
            self.framing = .length
        } else if readsChunks {
            fields[.transferEncoding] = "chunked"
            self.framing = hasBody ? .chunked : .length
        } else {
            self.framing = hasBody ? .untilClose : .length
        }
        var buffer = ByteBufferAllocator().buffer(capacity: 256)
        buffer.writeString("HTTP/1.1 \(response.status.code) \(response.status.reasonPhrase)\r\n")
        for field in fields {
            buffer.writeString(field.name.rawName)
            buffer.writeStaticString(": ")
            buffer.writeString(field.value)
            buffer.writeStaticString("\r\n")
        }
        buffer.writeStaticString("\r\n")
        return buffer
    }

    /// Encodes some of the body.
    /// - Parameter write: is called with the buffers to write.
    func body(_ bytes: ByteBuffer, _ write: (ByteBuffer) -> Void) {
        guard bytes.readableBytes > 0 else { return }
        guard self.framing == .chunked else { return write(bytes) }
        write(ByteBuffer(string: String(bytes.readableBytes, radix: 16) + "\r\n"))
        write(bytes)
        write(ByteBuffer(staticString: "\r\n"))
    }

    /// What follows the body; `nil`: nothing.
    var end: ByteBuffer? { self.framing == .chunked ? ByteBuffer(staticString: "0\r\n\r\n") : nil }

    /// `100 Continue`.
    static let goOn = ByteBuffer(staticString: "HTTP/1.1 100 Continue\r\n\r\n")

    /// Whether a response with this status has a body (RFC 9110, 6.4.1).
    private static func mayHaveBody(_ status: HTTPResponse.Status) -> Bool {
        status.kind != .informational && status != .noContent && status != .notModified
    }
}
