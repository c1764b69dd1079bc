import NIOCore
import NIOHTTP1

#if canImport(Glibc)
import Glibc
#endif

/// A client's connection to an ``R2Proxy``. It serves one request at a time.
final class R2Connection {
    /// Thrown to close the connection.
    struct Ended: Error {}

    let channel: any Channel
    let state: R2ProxyState
    private var parts: NIOAsyncChannelInboundStream<HTTPServerRequestPart>.AsyncIterator
    private let outbound: NIOAsyncChannelOutboundWriter<ByteBuffer>
    private var hasBody = false
    /// A request body that ``bufferBody()`` has read in advance.
    private var buffered: ByteBuffer?
    private(set) var request: ProxyRequest
    private var generation = 0

    static func serve(_ connection: NIOAsyncChannel<HTTPServerRequestPart, ByteBuffer>, _ state: R2ProxyState) async {
        // Errors are ignored: the client sees them as a closed connection.
        try? await connection.executeThenClose { inbound, outbound in
            var parts = inbound.makeAsyncIterator()
            guard case .head(let head)? = try await parts.next() else { return }
            let client = R2Connection(connection.channel, state, parts, outbound, head)
            defer { client.close() }
            try await client.serve(head)
        }
    }

    private init(
        _ channel: any Channel, _ state: R2ProxyState, _ parts: NIOAsyncChannelInboundStream<HTTPServerRequestPart>.AsyncIterator,
        _ outbound: NIOAsyncChannelOutboundWriter<ByteBuffer>, _ first: HTTPRequestHead
    ) {
        self.channel = channel
        self.state = state
        self.parts = parts
        self.outbound = outbound
        (self.request, self.generation) = state.arrived(first)
    }

    private func serve(_ first: HTTPRequestHead) async throws {
        var head = first
        while true {
            self.hasBody = true
            try await R2Exchange(self, head).run()
            try await self.discardBody()
            self.close()
            guard head.isKeepAlive, case .head(let next)? = try await self.parts.next(isolation: #isolation) else { return }
            head = next
            (self.request, self.generation) = self.state.arrived(head)
        }
    }

    /// Marks the request as finished.
    private func close() { self.note { $0.isOver = true } }

    func note(_ change: (inout ProxyRequest) -> Void) {
        change(&self.request)
        self.state.update(self.request, generation: self.generation)
    }

    // MARK: The request's body

    /// - Returns: the next bytes of the request body; `nil` at its end.
    /// - Throws: ``Ended`` if the connection ends within the body.
    func nextPart() async throws -> ByteBuffer? {
        if let buffered = self.buffered {
            self.buffered = nil
            return buffered
        }
        guard self.hasBody else { return nil }
        switch try await self.parts.next(isolation: #isolation) {
        case .body(let bytes):
            self.request.bodyBytes += bytes.readableBytes
            return bytes
        case .end:
            self.hasBody = false
            self.note { _ in }
            return nil
        case .head, nil:
            self.note { _ in }
            throw Ended()
        }
    }

    func wholeBody() async throws -> ByteBuffer {
        var body = ByteBuffer()
        while let part = try await self.nextPart() { body.writeImmutableBuffer(part) }
        return body
    }

    /// Reads and buffers the whole body, so that the request can be forwarded later even if its client is suspended by then.
    func bufferBody() async throws { self.buffered = try await self.wholeBody() }

    func discardBody() async throws { while try await self.nextPart() != nil {} }

    // MARK: The reply

    func send(_ head: HTTPResponseHead) async throws {
        var bytes = ByteBuffer(string: "HTTP/1.1 \(head.status.code) \(head.status.reasonPhrase)\r\n")
        for (name, value) in head.headers { bytes.writeString("\(name): \(value)\r\n") }
        bytes.writeString("\r\n")
        try await self.outbound.write(bytes)
        self.note { $0.status = Int(head.status.code) }
    }

    func send(_ body: ByteBuffer, isChunked: Bool) async throws {
        guard body.readableBytes > 0 else { return }
        var bytes = ByteBuffer()
        if isChunked { bytes.writeString(String(body.readableBytes, radix: 16) + "\r\n") }
        bytes.writeImmutableBuffer(body)
        if isChunked { bytes.writeString("\r\n") }
        try await self.outbound.write(bytes)
        self.request.replyBytes += body.readableBytes
    }

    func sendEnd(isChunked: Bool) async throws {
        if isChunked { try await self.outbound.write(ByteBuffer(string: "0\r\n\r\n")) }
    }

    /// Sends a complete response.
    func reply(_ status: Int, headers: HTTPHeaders = [:], xml: String = "") async throws {
        var headers = headers
        headers.replaceOrAdd(name: "content-length", value: "\(xml.utf8.count)")
        if !xml.isEmpty { headers.replaceOrAdd(name: "content-type", value: "application/xml") }
        try await self.send(HTTPResponseHead(version: .http1_1, status: .init(statusCode: status), headers: headers))
        if self.request.method != "HEAD" { try await self.send(ByteBuffer(string: xml), isChunked: false) }
    }

    func replyError(_ status: Int, code: String, _ message: String, headers: HTTPHeaders = [:]) async throws {
        try await self.reply(
            status, headers: headers,
            xml: "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>\(code)</Code><Message>\(message)</Message></Error>")
    }

    /// Closes the connection with a TCP reset.
    func reset() async throws -> Never {
        let socket = self.channel as? any SocketOptionProvider
        try? await socket?.setSoLinger(linger(l_onoff: 1, l_linger: 0)).get()
        try? await self.channel.close().get()
        throw Ended()
    }
}
