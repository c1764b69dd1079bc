import HTTPTypes

/// What a connection refuses before a route is asked.
extension HTTPProblem {
    static var malformed: HTTPProblem {
        HTTPProblem(
            .badRequest, "malformed_request", "This is not a request of HTTP/1.1 that the hub can read. The connection is closed."
        )
    }

    static var badHost: HTTPProblem {
        HTTPProblem(.badRequest, "bad_host", "A request names exactly one host, in its Host field. The connection is closed.")
    }

    static var unknownCoding: HTTPProblem {
        HTTPProblem(.notImplemented, "unknown_transfer_coding", "The one Transfer-Encoding is chunked. The connection is closed.")
    }

    static var tooSlow: HTTPProblem {
        HTTPProblem(.requestTimeout, "request_timeout", "The request took too long to arrive. Send it again in one go.")
    }

    static func bodyTooLarge(_ limit: Int) -> HTTPProblem {
        HTTPProblem(
            .contentTooLarge, "body_too_large",
            "A request body may have \(limit) bytes (FLOWHUB_MAX_BODY_BYTES). Send less at a time.")
    }

    static func uriTooLong(_ configuration: HTTPConfiguration) -> HTTPProblem {
        HTTPProblem(
            .uriTooLong, "uri_too_long",
            "A request target may have \(configuration.maximumURIBytes) bytes (FLOWHUB_MAX_URI_BYTES).")
    }

    static func headersTooLarge(_ configuration: HTTPConfiguration) -> HTTPProblem {
        HTTPProblem(
            .requestHeaderFieldsTooLarge, "headers_too_large",
            "The header fields may have \(configuration.maximumHeaderBytes) bytes together (FLOWHUB_MAX_HEADER_BYTES).")
    }
}
