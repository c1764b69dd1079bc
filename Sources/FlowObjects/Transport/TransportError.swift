import CCurl

/// The reason why a request has no complete response. Except for `connect` and `tls`, it is unknown whether the server
/// executed the request.
enum TransportError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The host is unknown, or no connection to it was established.
    case connect
    /// TLS failed, or the server's certificate is not trusted.
    case tls
    /// No byte arrived within the idle timeout, or the response was not complete by the request's deadline.
    case timeout
    /// The connection failed before the response was complete.
    case lost
    /// The response body is shorter than the response head announced.
    case short
    /// The response is not valid HTTP, or its head or body exceeds the size limit.
    case malformed
    /// The task that waited for the response was cancelled, or ``TransportBody`` was released before the body's end.
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
        case .malformed: "the response is not valid HTTP, or is too large"
        case .cancelled: "task cancelled"
        case .closed: "the hub is shutting down"
        case .other(let number): "libcurl error \(number)"
        }
    }

    /// Converts libcurl's result code. libcurl's own texts are not used, because they contain addresses.
    /// - Returns: `nil` for success.
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
