import CCurl

/// The reason why a request has no complete response. Except for `connect` and `tls`, it is unknown whether the server
/// executed the request.
enum TransportError: Error, Hashable, Sendable, CustomStringConvertible {
    /// Unknown host, or the connection was refused or not established.
    case connect
    /// TLS failed, or the server's certificate is not trusted.
    case tls
    /// No byte within the idle timeout, or no response in time.
    case timeout
    /// The connection failed before the response was complete.
    case lost
    /// The body is shorter than its head announced.
    case short
    /// The response is not valid HTTP, or exceeds a limit.
    case malformed
    /// The task was cancelled, or the reader released the body.
    case cancelled
    /// The transport was closed.
    case closed
    /// Any other error of libcurl, by its number.
    case other(UInt32)

    var description: String {
        switch self {
        case .connect: "cannot connect"
        case .tls: "TLS failed or certificate not trusted"
        case .timeout: "timed out"
        case .lost: "connection lost"
        case .short: "response truncated"
        case .malformed: "invalid response"
        case .cancelled: "task cancelled"
        case .closed: "the store is shutting down"
        case .other(let number): "libcurl error \(number)"
        }
    }

    /// - Returns: `nil` for success. libcurl's own texts are not used, because they contain addresses.
    init?(_ code: CURLcode) {
        switch code {
        case CURLE_OK: return nil
        case CURLE_COULDNT_RESOLVE_HOST, CURLE_COULDNT_RESOLVE_PROXY, CURLE_COULDNT_CONNECT: self = .connect
        case CURLE_SSL_CONNECT_ERROR, CURLE_PEER_FAILED_VERIFICATION, CURLE_SSL_CACERT_BADFILE, CURLE_SSL_CERTPROBLEM,
            CURLE_SSL_CIPHER, CURLE_SSL_ISSUER_ERROR:
            self = .tls
        case CURLE_OPERATION_TIMEDOUT: self = .timeout
        case CURLE_SEND_ERROR, CURLE_RECV_ERROR, CURLE_GOT_NOTHING, CURLE_SEND_FAIL_REWIND: self = .lost
        case CURLE_PARTIAL_FILE: self = .short
        case CURLE_WEIRD_SERVER_REPLY, CURLE_UNSUPPORTED_PROTOCOL, CURLE_BAD_CONTENT_ENCODING: self = .malformed
        default: self = .other(code.rawValue)
        }
    }
}
