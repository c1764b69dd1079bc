import FlowCore
import HTTPTypes

/// The requests that are answered where no token protects the routes, on a hub without keys and on the operations port: those of
/// programs on this machine, of the hub's own web UI, and of web pages whose origin the operator has listed.
///
/// Without keys the network is the only protection: the hub listens on loopback addresses. A browser on the same machine runs
/// the scripts of any web page, and these can reach loopback addresses in two ways, which need one rule each:
///
/// - A page sends requests to the hub's address. Its browser adds `Origin` (Fetch, 3.1) to every request that modifies data or
///   whose response the page could read, and `Sec-Fetch-Site` (Fetch Metadata, 2.3) to all.
/// - A page of the attacker's host name lets this name resolve to a loopback address (DNS rebinding). To the browser, the hub is
///   then the page's own origin. But `Host` has the attacker's name.
public struct KeylessAccess: Sendable {
    /// Why a request is not answered.
    enum Rejection: Equatable {
        /// `Host` is not a loopback host.
        case host
        /// The request was sent by a web page of another origin, which is not listed.
        case origin
    }

    private let cors: CORSPolicy
    private let checksHost: Bool

    /// - Parameter checksHost: `false` for a listener that may be reached by names and addresses other than loopback ones.
    init(cors: CORSPolicy, checksHost: Bool) {
        self.cors = cors
        self.checksHost = checksHost
    }

    /// Why the hub does not answer a request; `nil`: it does.
    ///
    /// A request without `Host` is answered: it is one of HTTP/1.0, which no browser sends. So is one without `Origin` and
    /// `Sec-Fetch-Site`, as curl and backend services send it.
    ///
    /// - Parameter path: the request's path, without the query.
    func rejection(of head: HTTPRequest, path: Substring) -> Rejection? {
        if self.checksHost, let host = head.authority, !Self.isLoopback(host) { return .host }
        // The files of the web UI are public and the same for all, so that a link to it works on every page.
        let isRead = head.method == .get || head.method == .head
        if isRead, PageAsset.all.contains(where: { $0.path == path }) { return nil }
        if let origin = head.headerFields[.origin] {
            // A page of a loopback host is one of this machine, with and without TLS.
            return self.cors.isListedOrOwn(origin: origin, host: head.authority, isSecure: false) ? nil : .origin
        }
        // Without `Origin`, a foreign page can only have a resource loaded, whose content it cannot read, or open the URL in a
        // tab. The user may do the latter, by a link.
        switch head.headerFields[.secFetchSite] {
        case nil, "same-origin", "none": return nil
        default: return isRead && head.headerFields[.secFetchDest] == "document" ? nil : .origin
        }
    }

    /// Whether `Host` is a loopback host, with any port: `localhost`, an address in 127.0.0.0/8, `[::1]`, or an IPv4-mapped loopback
    /// address in brackets. No other name is trusted to resolve to a loopback address, and to nothing else.
    static func isLoopback(_ authority: String) -> Bool {
        var authority = authority
        return authority.withUTF8 { Self.isLoopback($0[...]) }
    }

    private static func isLoopback(_ authority: Slice<UnsafeBufferPointer<UInt8>>) -> Bool {
        if authority.first == UInt8(ascii: "[") {
            guard let end = authority.firstIndex(of: UInt8(ascii: "]")) else { return false }
            let host = Substring(decoding: authority[authority.startIndex..<end].dropFirst(), as: UTF8.self)
            return host.contains(":") && IPAddress(host)?.isLoopback == true && Self.isPort(authority[end...].dropFirst())
        }
        let host = authority.prefix { $0 != UInt8(ascii: ":") }
        guard Self.isPort(authority[host.endIndex...]) else { return false }
        let name = "localhost".utf8
        // Setting bit 5 turns upper case letters into lower case.
        if host.count == name.count, host.elementsEqual(name, by: { $0 | 0x20 == $1 }) { return true }
        // Four decimal numbers up to 255, the first 127.
        var (number, digits, dots) = (0, 0, 0)
        for byte in host {
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"):
                number = number * 10 + Int(byte - UInt8(ascii: "0"))
                digits += 1
                guard digits <= 3, number <= 255 else { return false }
            case UInt8(ascii: "."):
                guard digits > 0, dots > 0 || number == 127 else { return false }
                dots += 1
                (number, digits) = (0, 0)
            default: return false
            }
        }
        return dots == 3 && digits > 0
    }

    /// Whether the text after the host is empty, or `:` and digits.
    private static func isPort(_ text: Slice<UnsafeBufferPointer<UInt8>>) -> Bool {
        guard let first = text.first else { return true }
        return first == UInt8(ascii: ":")
            && text.dropFirst().allSatisfy { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }
    }
}

extension HTTPProblem {
    /// The response to a request that a hub without keys does not answer.
    init(_ rejection: KeylessAccess.Rejection, of head: HTTPRequest) {
        switch rejection {
        case .host:
            self.init(
                .misdirectedRequest, "misdirected_request",
                "The Host header is not a loopback host. Without keys, and for operations on a loopback address, the hub answers "
                    + "only localhost, 127.0.0.1 and [::1]. Use one of these, or set FLOWHUB_JWT_KEY or FLOWHUB_JWKS.")
            self.rejection = RejectionReason(reason: "Host is not a loopback host", claim: "Host", seen: head.authority)
        case .origin:
            self.init(AccessError.originForbiddenWithoutKeys)
            self.rejection?.seen =
                head.headerFields[.origin] ?? head.headerFields[.secFetchSite].map { "none, from a \($0) page" }
        }
    }
}

extension HTTPField.Name {
    // The names are valid, so `.origin` is never used: it only makes the type non-optional.
    fileprivate static let secFetchSite = Self("sec-fetch-site") ?? .origin
    fileprivate static let secFetchDest = Self("sec-fetch-dest") ?? .origin
}
