import NIOCore
import NIOHTTP1
import NIOHTTPCompression
import NIOPosix

/// The proxy's connection to the server for one request.
struct R2Upstream {
    private typealias Connection = NIOAsyncChannel<HTTPClientResponsePart, HTTPClientRequestPart>

    /// The server's response, read as it arrives.
    final class Replies {
        private var parts: NIOAsyncChannelInboundStream<HTTPClientResponsePart>.AsyncIterator

        init(_ parts: NIOAsyncChannelInboundStream<HTTPClientResponsePart>.AsyncIterator) { self.parts = parts }

        func head() async throws -> HTTPResponseHead {
            guard case .head(let head)? = try await self.parts.next(isolation: #isolation) else { throw R2Connection.Ended() }
            return head
        }

        /// - Returns: the next bytes of the response body; `nil` at its end.
        func nextPart() async throws -> ByteBuffer? {
            switch try await self.parts.next(isolation: #isolation) {
            case .body(let bytes): return bytes
            case .end: return nil
            case .head, nil: throw R2Connection.Ended()
            }
        }

        func wholeBody() async throws -> ByteBuffer {
            var body = ByteBuffer()
            while let part = try await self.nextPart() { body.writeImmutableBuffer(part) }
            return body
        }
    }

    /// Sends a request unchanged and passes the response to the closure `body`.
    /// - Parameters:
    ///   - decompresses: whether a gzip response is decompressed.
    ///   - nextPart: returns the next bytes of the request body; `nil` at its end.
    static func exchange<Result>(
        port: Int, _ head: HTTPRequestHead, decompresses: Bool, nextPart: () async throws -> ByteBuffer?,
        _ body: (Replies) async throws -> Result
    ) async throws -> Result {
        let connection = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .channelOption(.tcpOption(.tcp_nodelay), value: 1)
            .connect(host: "127.0.0.1", port: port) { channel in
                channel.eventLoop.makeCompletedFuture {
                    var configuration = HTTPRequestEncoder.Configuration()
                    configuration.automaticallySetFramingHeaders = false
                    try channel.pipeline.syncOperations.addHTTPClientHandlers(encoderConfiguration: configuration)
                    if decompresses { try channel.pipeline.syncOperations.addHandler(NIOHTTPResponseDecompressor(limit: .none)) }
                    return try Connection(wrappingChannelSynchronously: channel)
                }
            }
        return try await connection.executeThenClose { inbound, outbound in
            try await Self.send(head, outbound, nextPart)
            return try await body(Replies(inbound.makeAsyncIterator()))
        }
    }

    private static func send(
        _ head: HTTPRequestHead, _ outbound: NIOAsyncChannelOutboundWriter<HTTPClientRequestPart>,
        _ nextPart: () async throws -> ByteBuffer?
    ) async throws {
        // A server that has already answered may stop reading the body. That is not an error.
        var isAccepted = (try? await outbound.write(.head(head))) != nil
        while let part = try await nextPart() {
            if isAccepted { isAccepted = (try? await outbound.write(.body(.byteBuffer(part)))) != nil }
        }
        if isAccepted { _ = try? await outbound.write(.end(nil)) }
    }
}
