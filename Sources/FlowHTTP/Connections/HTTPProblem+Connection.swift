import HTTPTypes

/// Responses to requests that the connection rejects before routing.
extension HTTPProblem {
    /// 400, for a request that is not valid HTTP/1.1.
    static var malformed: HTTPProblem {
        HTTPProblem(
            .badRequest, "malformed_request", "Malformed HTTP/1.1 request. The connection was closed."
        )
    }

    /// 400, for a request without exactly one valid `Host` header field.
    static var badHost: HTTPProblem {
        HTTPProblem(.badRequest, "bad_host", "The request must have exactly one valid Host header. The connection was closed.")
    }

    /// 501, for a request body with a transfer coding other than `chunked`.
    static var unknownCoding: HTTPProblem {
        HTTPProblem(
            .notImplemented, "unknown_transfer_coding",
            "Only Transfer-Encoding: chunked is supported. The connection was closed.")
    }

    /// 408, for a request that did not arrive within the timeout of its head or body.
    static var tooSlow: HTTPProblem {
        HTTPProblem(
            .requestTimeout, "request_timeout", "The request was not received within the hub's timeout. Send it again.")
    }

    /// 413, for a request body above `limit` bytes.
    static func bodyTooLarge(_ limit: Int) -> HTTPProblem {
        HTTPProblem(
            .contentTooLarge, "body_too_large",
            "The request body exceeds \(limit) bytes (FLOWHUB_MAX_BODY_BYTES). Send smaller requests.")
    }

    /// 414, for a request target above the maximum length in the configuration.
    static func uriTooLong(_ configuration: HTTPConfiguration) -> HTTPProblem {
        HTTPProblem(
            .uriTooLong, "uri_too_long",
            "The request target exceeds \(configuration.maximumURIBytes) bytes (FLOWHUB_MAX_URI_BYTES). Shorten it.")
    }

    /// 431, for header fields above the maximum total size in the configuration.
    static func headersTooLarge(_ configuration: HTTPConfiguration) -> HTTPProblem {
        HTTPProblem(
            .requestHeaderFieldsTooLarge, "headers_too_large",
            "The header fields together exceed \(configuration.maximumHeaderBytes) bytes (FLOWHUB_MAX_HEADER_BYTES). "
                + "Send fewer or shorter fields.")
    }
}
