import NIOCore
import NIOHTTP1

/// Rejects request heads that the HTTP parser accepts and RFC 9112 does not. A proxy and the hub could disagree about the host
/// or the end of such a request (request smuggling).
///
/// It also adds `Connection: close` to the head of an HTTP/1.0 request without `keep-alive`. Such a client expects the hub to
/// close the connection, and the next handlers cannot see the HTTP version.
final class RequestHeadValidator: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias InboundOut = HTTPServerRequestPart

    enum Rejection: Error {
        /// Not exactly one `Host`, or an invalid one (RFC 9112, 3.2).
        case host
        /// A transfer coding other than `chunked` (RFC 9112, 6.1).
        case transferCoding
    }

    private var isDiscarding = false

    /// Passes request parts on. Reports an invalid request head as a ``Rejection`` and discards all input that follows it.
    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !self.isDiscarding else { return }
        guard case .head(var head) = self.unwrapInboundIn(data) else {
            context.fireChannelRead(data)
            return
        }
        if let rejection = Self.rejection(of: head) {
            self.isDiscarding = true
            context.fireErrorCaught(rejection)
            return
        }
        // The next handlers do not see the HTTP version. An HTTP/1.0 client reads the response until the connection is closed.
        if head.isKeepAlive {
            context.fireChannelRead(data)
        } else {
            head.headers.replaceOrAdd(name: "connection", value: "close")
            context.fireChannelRead(self.wrapInboundOut(.head(head)))
        }
    }

    /// The rule that a request head violates; `nil` if the head is valid.
    static func rejection(of head: HTTPRequestHead) -> Rejection? {
        let hosts = head.headers["host"]
        let mayLackHost = head.version.major == 1 && head.version.minor == 0
        guard hosts.count == 1 || (hosts.isEmpty && mayLackHost), hosts.allSatisfy(Self.isHost) else { return .host }
        let codings = head.headers["transfer-encoding"]
        guard codings.isEmpty || (codings.count == 1 && codings.first?.lowercased() == "chunked") else { return .transferCoding }
        return nil
    }

    /// Whether the text has only characters of `uri-host [":" port]` (RFC 3986, 3.2.2), none of which ends an authority or a
    /// line.
    private static func isHost(_ text: String) -> Bool {
        text.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "-"), UInt8(ascii: "_"),
                UInt8(ascii: "~"), UInt8(ascii: ":"), UInt8(ascii: "["), UInt8(ascii: "]"), UInt8(ascii: "%"):
                true
            default:
                false
            }
        }
    }
}
