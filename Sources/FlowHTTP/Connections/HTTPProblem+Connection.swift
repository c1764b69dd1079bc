import HTTPTypes

/// Responses to requests that the connection rejects before routing.
extension HTTPProblem {
    static var malformed: HTTPProblem {
        HTTPProblem(
            .badRequest, "malformed_request", "Malformed HTTP/1.1 request. The connection was closed."
        )
    }

    static var badHost: HTTPProblem {
        HTTPProblem(.badRequest, "bad_host", "The request must have exactly one valid Host header. The connection was closed.")
    }

    static var unknownCoding: HTTPProblem {
        HTTPProblem(
            .notImplemented, "unknown_transfer_coding",
            "Only Transfer-Encoding: chunked is supported. The connection was closed.")
    }

    static var tooSlow: HTTPProblem {
        HTTPProblem(
            .requestTimeout, "request_timeout", "The request was not received within the hub's timeout. Send it again.")
    }

    static func bodyTooLarge(_ limit: Int) -> HTTPProblem {
        HTTPProblem(
            .contentTooLarge, "body_too_large",
            "The request body exceeds \(limit) bytes (FLOWHUB_MAX_BODY_BYTES). Send smaller requests.")
    }

    static func uriTooLong(_ configuration: HTTPConfiguration) -> HTTPProblem {
        HTTPProblem(
            .uriTooLong, "uri_too_long",
            "The request target exceeds \(configuration.maximumURIBytes) bytes (FLOWHUB_MAX_URI_BYTES). Shorten it.")
    }

    static func headersTooLarge(_ configuration: HTTPConfiguration) -> HTTPProblem {
        HTTPProblem(
            .requestHeaderFieldsTooLarge, "headers_too_large",
            "The header fields together exceed \(configuration.maximumHeaderBytes) bytes (FLOWHUB_MAX_HEADER_BYTES). "
                + "Send fewer or shorter fields.")
    }
}
