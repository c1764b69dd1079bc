import HTTPTypes
import NIOCore
import NIOHTTP1
import NIOHTTPTypesHTTP1

/// The head of a request, with what its HTTP version and its options mean for the connection.
struct RequestHead: Equatable {
    let request: HTTPRequest
    /// Whether the connection may carry a further request after the response.
    let isKeepAlive: Bool
    /// Whether the client knows the transfer coding `chunked`: HTTP/1.1.
    let readsChunks: Bool

    init(_ request: HTTPRequest, isKeepAlive: Bool = true, readsChunks: Bool = true) {
        self.request = request
        self.isKeepAlive = isKeepAlive
        self.readsChunks = readsChunks
    }

    /// - Throws: ``Rejection`` for a head that RFC 9112 does not allow; the error of a head that cannot be converted.
    init(_ head: HTTPRequestHead) throws {
        if let rejection = Self.rejection(of: head) { throw rejection }
        let request = try HTTPRequest(head, secure: false, splitCookie: false)
        self.init(
            request, isKeepAlive: head.isKeepAlive && !Self.requestsClose(request),
            readsChunks: head.version != .http1_0 && head.version != .http0_9)
    }

    /// Whether the client waits for `100 Continue` before it sends the body.
    var expectsContinue: Bool { self.request.headerFields[.expect]?.lowercased() == "100-continue" }
    /// The declared size of the body; `nil` without one.
    var contentLength: Int? { self.request.headerFields[.contentLength].flatMap { Int($0) } }

    /// Whether the client requests the close of the connection after the response, or an upgrade, after which the HTTP
    /// decoder parses no further requests.
    private static func requestsClose(_ head: HTTPRequest) -> Bool {
        if head.headerFields[.upgrade] != nil { return true }
        guard let options = head.headerFields[.connection] else { return false }
        return options.lowercased().split(separator: ",").contains { $0.split(separator: " ").first == "close" }
    }
}

/// Request heads that the HTTP parser accepts and RFC 9112 does not. A proxy and the hub could disagree about the host or the
/// end of such a request (request smuggling).
extension RequestHead {
    enum Rejection: Error {
        /// Not exactly one `Host`, or an invalid one (RFC 9112, 3.2).
        case host
        /// A transfer coding other than `chunked` (RFC 9112, 6.1).
        case transferCoding
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

/// A part of a request.
enum RequestPart: Equatable {
    case head(RequestHead)
    case body(ByteBuffer)
    case end

    /// The memory that the part takes while it waits, approximately.
    var bytes: Int {
        switch self {
        case .head(let head):
            let fields = head.request.headerFields.reduce(0) {
                $0 + $1.name.rawName.utf8.count + $1.value.utf8.count + Self.fieldOverhead
            }
            // Method, scheme, authority and path are fields too.
            return (head.request.path ?? "").utf8.count + fields + 4 * Self.fieldOverhead + Self.overhead
        case .body(let buffer): return buffer.readableBytes + Self.overhead
        case .end: return Self.overhead
        }
    }

    /// What a part takes in addition to its text: a head is an array of fields, each with several objects.
    private static let overhead = 64
    private static let fieldOverhead = 160
}
