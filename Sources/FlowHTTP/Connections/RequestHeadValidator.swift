import NIOCore
import NIOHTTP1

/// Refuses request heads that the parser takes and RFC 9112 does not: about these two parties could disagree which host is
/// meant or where the request ends. And it says of every head whether the connection ends with its answer.
final class RequestHeadValidator: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias InboundOut = HTTPServerRequestPart

    enum Rejection: Error {
        /// RFC 9112, 3.2: not exactly one `Host`, or one that is none.
        case host
        /// RFC 9112, 6.1: a transfer coding that the hub does not undo.
        case transferCoding
    }

    private var isDiscarding = false

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
        // What follows knows no versions. A client of HTTP/1.0 takes the end of the connection for the end of the answer.
        if head.isKeepAlive {
            context.fireChannelRead(data)
        } else {
            head.headers.replaceOrAdd(name: "connection", value: "close")
            context.fireChannelRead(self.wrapInboundOut(.head(head)))
        }
    }

    static func rejection(of head: HTTPRequestHead) -> Rejection? {
        let hosts = head.headers["host"]
        let mayLackHost = head.version.major == 1 && head.version.minor == 0
        guard hosts.count == 1 || (hosts.isEmpty && mayLackHost), hosts.allSatisfy(Self.isHost) else { return .host }
        let codings = head.headers["transfer-encoding"]
        guard codings.isEmpty || (codings.count == 1 && codings.first?.lowercased() == "chunked") else { return .transferCoding }
        return nil
    }

    /// Whether the text could be `uri-host [":" port]` (RFC 3986, 3.2.2): nothing that ends an authority or a line.
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
