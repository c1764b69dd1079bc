import FlowCore

/// The reason why one attempt of a request failed.
struct R2Failure: Error, Hashable, Sendable {
    enum Reason: Hashable, Sendable {
        /// No complete response arrived.
        case transport(TransportError)
        /// R2's error response. Its status may be 200: completing a multipart upload can fail after R2 has sent a response head
        /// with that status.
        case answer(status: Int, code: String)
        /// The ETag, size, range or encoding in the response is not that of the expected content.
        case contentMismatch
        /// The status is 2xx, but the rest of the response is invalid.
        case invalidResponse
        /// The object has more parts than R2 allows; the value is the maximum.
        case tooManyParts(Int)
    }

    var reason: Reason
    /// Minimum seconds until the next attempt, from R2's `Retry-After`; `nil` if the response has none.
    var retryAfter: Int?
    /// R2's clock minus the hub's, in seconds; `nil` if the response has no `Date`.
    var clockSkew: Int64?
    /// Whether R2 may have executed the request, in this attempt or an earlier attempt of the same request.
    var mayHaveTakenEffect: Bool

    init(_ reason: Reason, retryAfter: Int? = nil, clockSkew: Int64? = nil) {
        self.reason = reason
        self.retryAfter = retryAfter
        self.clockSkew = clockSkew
        self.mayHaveTakenEffect =
            switch reason {
            // No connection was established.
            case .transport(.connect), .transport(.tls): false
            case .transport, .contentMismatch, .invalidResponse: true
            case .answer(let status, _): status < 400 || status >= 500 || status == 408
            case .tooManyParts: false
            }
    }

    /// The status of an error response; `nil` for every other failure.
    var status: Int? {
        if case .answer(let status, _) = self.reason { status } else { nil }
    }

    /// The S3 error code of an error response, empty if it has none; `nil` for every other failure.
    var code: String? {
        if case .answer(_, let code) = self.reason { code } else { nil }
    }

    /// Whether R2 responded that the object does not exist. If the response has no body (to a HEAD), a missing bucket looks
    /// the same.
    var isMissingObject: Bool { self.status == 404 && self.code != "NoSuchBucket" && self.code != "NoSuchUpload" }

    /// Whether R2 rejected the request because of its `If-Match` or `If-None-Match`.
    var isPreconditionFailed: Bool { self.status == 412 }

    /// Whether R2 rejected the time of the signature, which must be within 15 minutes of R2's clock. The response to a
    /// HEAD has no error code; then a clock skew of 15 minutes or more decides.
    fileprivate var isClockSkewError: Bool {
        self.code == "RequestTimeTooSkewed" || self.code == "ExpiredRequest"
            || (self.status == 401 || self.status == 403) && abs(self.clockSkew ?? 0) >= 900
    }
}

// MARK: Errors for callers

extension ObjectError {
    /// Converts a failure to the error that the methods of the object store throw.
    /// - Parameter bucket: name of the bucket, for the error's text.
    init(_ failure: R2Failure, bucket: String) {
        switch failure.reason {
        case .transport(.cancelled): self = .unavailable("The request to R2 was cancelled.")
        case .transport(let error): self = .unavailable("R2 request failed: \(error).")
        case .contentMismatch:
            self = .corrupted("R2's response does not match the object's content (ETag, size, range or encoding).")
        case .invalidResponse:
            self = .unavailable("R2 sent a successful response with invalid content; check R2_ENDPOINT if this persists.")
        case .tooManyParts(let most):
            self = .rejected(
                "The object has more than \(most) parts, the maximum of R2: increase FLOWHUB_R2_PART_BYTES.")
        case .answer(let status, let code) where failure.isClockSkewError:
            self = .rejected(
                Self.clockSkewMessage(code.isEmpty ? "\(status)" : "\(status) \(code)", clockSkew: failure.clockSkew))
        case .answer(let status, let code):
            let statusText = code.isEmpty ? "\(status)" : "\(status) \(code)"
            switch (status, code) {
            case (404, "NoSuchBucket"):
                self = .rejected("Bucket \(bucket) does not exist: check R2_BUCKET_NAME and R2_ACCOUNT_ID or R2_ENDPOINT.")
            case (404, "NoSuchUpload"): self = .rejected("The multipart upload does not exist in R2: it was aborted.")
            case (404, _): self = .notFound
            case (401, _), (403, _):
                self = .rejected(
                    "R2 denied access (\(statusText)): check the hub's R2 credentials and their rights on bucket \(bucket)."
                )
            case (412, _): self = .exists
            case (416, _): self = .invalid("The byte range starts after the end of the object.")
            case (_, "BadDigest"), (_, "XAmzContentSHA256Mismatch"):
                self = .corrupted("The object's bytes were changed in transit to R2 (\(statusText)).")
            default:
                self =
                    RetryClass(failure) == .never
                    ? .rejected("R2 rejected the request (\(statusText)).")
                    : .unavailable("R2 is temporarily unavailable (\(statusText)).")
            }
        }
    }

    /// The error text for a request whose time R2 has rejected.
    /// - Parameters:
    ///   - statusText: status and S3 error code of R2's response.
    ///   - clockSkew: R2's clock minus the hub's, in seconds; `nil` if unknown.
    private static func clockSkewMessage(_ statusText: String, clockSkew: Int64?) -> String {
        guard let clockSkew, clockSkew != 0 else {
            return "R2 rejected the time of the request (\(statusText)): synchronize the hub's clock with NTP."
        }
        let direction = clockSkew > 0 ? "behind" : "ahead of"
        return "The hub's clock is \(abs(clockSkew)) s \(direction) R2's (\(statusText)): synchronize it with NTP."
    }
}
