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

    /// 503 or 429, for a request body for which a budget of bytes has no room.
    static func bodiesFull(_ excess: ByteBudget.Excess, _ configuration: HTTPConfiguration) -> HTTPProblem {
        switch excess {
        case .account:
            .later(
                .tooManyRequests, "account_bodies_full",
                "The request bodies of this account would exceed \(configuration.maximumAccountBodyBytes) bytes "
                    + "(FLOWHUB_MAX_ACCOUNT_BODY_BYTES). Send fewer requests at the same time.")
        case .total:
            .later(
                .serviceUnavailable, "bodies_full",
                "The request bodies that the hub holds would exceed \(configuration.maximumTotalBodyBytes) bytes "
                    + "(FLOWHUB_MAX_TOTAL_BODY_BYTES). Retry shortly.")
        }
    }

    /// 503 or 429, for a response for which a budget of bytes has no room, because other responses were not read.
    static func responsesFull(_ excess: ByteBudget.Excess, _ configuration: HTTPConfiguration) -> HTTPProblem {
        switch excess {
        case .account:
            .later(
                .tooManyRequests, "account_responses_full",
                "The responses that this account has not read would exceed \(configuration.maximumAccountResponseBytes) bytes "
                    + "(FLOWHUB_MAX_ACCOUNT_RESPONSE_BYTES). Read them, or send fewer requests at the same time.")
        case .total:
            .later(
                .serviceUnavailable, "responses_full",
                "The responses that clients have not read would exceed \(configuration.maximumTotalResponseBytes) bytes "
                    + "(FLOWHUB_MAX_TOTAL_RESPONSE_BYTES). Retry shortly.")
        }
    }

    /// 503, for a request on a connection that was accepted above the limit of connections, for health checks and metrics.
    static func connectionsFull(_ configuration: HTTPConfiguration) -> HTTPProblem {
        .later(
            .serviceUnavailable, "connections_full",
            "\(configuration.maximumOrdinaryConnections) connections per event loop are open "
                + "(FLOWHUB_MAX_ORDINARY_CONNECTIONS). Retry shortly.")
    }

    /// 429, for a request of an account that has its share of connections already.
    static func accountConnectionsFull(_ configuration: HTTPConfiguration) -> HTTPProblem {
        .later(
            .tooManyRequests, "account_connections_full",
            "Too many connections are busy with requests of this account (FLOWHUB_MAX_ACCOUNT_CONNECTIONS). Send fewer requests at "
                + "the same time.")
    }

    /// 503, for a request whose body arrived while the pipelined requests of all connections were over their limit.
    static func pipelinesFull(_ configuration: HTTPConfiguration) -> HTTPProblem {
        .later(
            .serviceUnavailable, "pipelines_full",
            "The pipelined requests exceed \(configuration.maximumTotalPipelinedBytes) bytes "
                + "(FLOWHUB_MAX_TOTAL_PIPELINED_BYTES). Retry shortly, and wait for each response.")
    }

    /// 408, for an import that the client sends too slowly.
    static func uploadTooSlow(_ configuration: HTTPConfiguration) -> HTTPProblem {
        HTTPProblem(
            .requestTimeout, "request_timeout",
            "The import arrived at less than \(configuration.importBytesPerSecond) bytes per second for "
                + "\(configuration.importGraceSeconds) s (FLOWHUB_IMPORT_MIN_BYTES_PER_SECOND). Send it again, faster.")
    }

    /// 408, for an import whose upload exceeds its time limit.
    static func uploadTooLong(_ configuration: HTTPConfiguration) -> HTTPProblem {
        HTTPProblem(
            .requestTimeout, "request_timeout",
            "The import did not arrive within \(configuration.importSeconds) s (FLOWHUB_IMPORT_SECONDS). Split it.")
    }

    /// A problem with `Retry-After: 1`.
    private static func later(_ status: HTTPResponse.Status, _ code: String, _ detail: String) -> HTTPProblem {
        var problem = HTTPProblem(status, code, detail)
        problem.headers[.retryAfter] = "1"
        return problem
    }

    /// 414, for a request target above the maximum length in the configuration.
    static func uriTooLong(_ configuration: HTTPConfiguration) -> HTTPProblem {
        HTTPProblem(
            .uriTooLong, "uri_too_long",
            "The request target exceeds \(configuration.maximumURIBytes) bytes (FLOWHUB_MAX_URI_BYTES). Shorten it, or send the "
                + "flows of a stream as the body of POST /v1/events.")
    }

    /// 431, for header fields above the maximum total size in the configuration.
    static func headersTooLarge(_ configuration: HTTPConfiguration) -> HTTPProblem {
        HTTPProblem(
            .requestHeaderFieldsTooLarge, "headers_too_large",
            "The header fields together exceed \(configuration.maximumHeaderBytes) bytes (FLOWHUB_MAX_HEADER_BYTES). "
                + "Send fewer or shorter fields.")
    }
}
