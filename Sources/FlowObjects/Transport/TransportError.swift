import CCurl

/// Why a request has no answer. Whether the server has done what it was asked is not known, except with `connect` and `tls`.
enum TransportError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The name is not known, or nobody listens.
    case connect
    /// Nobody who could be trusted answered.
    case tls
    /// No byte for too long, or no answer in time.
    case timeout
    /// The connection ended before the answer did, and nothing said so.
    case lost
    /// The answer is shorter than its head had said.
    case short
    /// What came is no HTTP, or more than may.
    case malformed
    /// The task was cancelled, or the reader let go.
    case cancelled
    /// The transport was closed.
    case closed
    /// libcurl has another reason, by its number.
    case other(UInt32)

    var description: String {
        switch self {
        case .connect: "there is no connection to it"
        case .tls: "its certificate cannot be trusted, or TLS fails"
        case .timeout: "it did not answer in time"
        case .lost: "the connection was lost"
        case .short: "its answer ended too early"
        case .malformed: "its answer makes no sense"
        case .cancelled: "the task was cancelled"
        case .closed: "the store is closed"
        case .other(let number): "libcurl gave up (error \(number))"
        }
    }

    /// - Returns: `nil` if it is none. libcurl's own texts are not used: they name addresses.
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
