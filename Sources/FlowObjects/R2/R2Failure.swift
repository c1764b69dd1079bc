import FlowCore

/// The reason why one attempt of a request failed.
struct R2Failure: Error, Hashable, Sendable {
    enum Reason: Hashable, Sendable {
        case transport(TransportError)
        /// R2's error response. Its status may be 200: completing an upload can fail after R2 has sent a successful
        /// head.
        case answer(status: Int, code: String)
        /// The ETag, size, range or encoding in the response is not that of the expected content.
        case contentMismatch
        /// The status is 2xx, but the rest of the response is invalid.
        case invalidResponse
        /// The object has more parts than R2 allows; the value is the maximum.
        case tooManyParts(Int)
    }

    var reason: Reason
    /// Seconds to wait, from `Retry-After`.
    var retryAfter: Int?
    /// R2's clock minus the hub's, in seconds.
    var clockSkew: Int64?
    /// Whether R2 may have executed the request, in this attempt or an earlier one.
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

    var status: Int? {
        if case .answer(let status, _) = self.reason { status } else { nil }
    }

    var code: String? {
        if case .answer(_, let code) = self.reason { code } else { nil }
    }

    /// Whether the object does not exist. A missing bucket is distinguishable only if the response has a body.
    var isMissingObject: Bool { self.status == 404 && self.code != "NoSuchBucket" && self.code != "NoSuchUpload" }

    var isPreconditionFailed: Bool { self.status == 412 }

    /// Whether R2 rejected the time of the signature, which must be within 15 minutes of its clock. The response to a
    /// HEAD has no code, so the clock skew decides.
    fileprivate var isClockSkewError: Bool {
        self.code == "RequestTimeTooSkewed" || self.code == "ExpiredRequest"
            || (self.status == 401 || self.status == 403) && abs(self.clockSkew ?? 0) >= 900
    }
}

// MARK: Errors for callers

extension ObjectError {
    /// - Parameter bucket: name for messages about the bucket.
    init(_ failure: R2Failure, bucket: String) {
        switch failure.reason {
        case .transport(.cancelled): self = .unavailable("The task was cancelled.")
        case .transport(let error): self = .unavailable("R2 request failed: \(error).")
        case .contentMismatch: self = .corrupted("R2's response does not match the content (ETag, size or encoding).")
        case .invalidResponse: self = .unavailable("R2 sent an invalid response.")
        case .tooManyParts(let most):
            self = .rejected(
                "The object has more than \(most) parts, the maximum of R2: increase FLOWHUB_R2_PART_BYTES.")
        case .answer(let status, let code) where failure.isClockSkewError:
            self = .rejected(Self.clockSkewMessage(code.isEmpty ? "\(status)" : "\(status) \(code)", clockSkew: failure.clockSkew))
        case .answer(let status, let code):
            let statusText = code.isEmpty ? "\(status)" : "\(status) \(code)"
            switch (status, code) {
            case (404, "NoSuchBucket"):
                self = .rejected("Bucket \(bucket) does not exist: check R2_BUCKET_NAME and the endpoint.")
            case (404, "NoSuchUpload"): self = .rejected("The upload was aborted.")
            case (404, _): self = .notFound
            case (401, _), (403, _):
                self = .rejected(
                    "R2 denied access (\(statusText)): check the access keys and their permissions for bucket \(bucket)."
                )
            case (412, _): self = .exists
            case (416, _): self = .invalid("The range is outside of the object.")
            case (_, "BadDigest"), (_, "XAmzContentSHA256Mismatch"):
                self = .corrupted("The bytes were changed in transit to R2 (\(statusText)).")
            default:
                self =
                    RetryClass(failure) == .never
                    ? .rejected("R2 rejected the request (\(statusText)).")
                    : .unavailable("R2 is temporarily unavailable (\(statusText)).")
            }
        }
    }

    private static func clockSkewMessage(_ statusText: String, clockSkew: Int64?) -> String {
        guard let clockSkew, clockSkew != 0 else {
            return "R2 rejected the time of the request (\(statusText)): synchronize the hub's clock with NTP."
        }
        let direction = clockSkew > 0 ? "behind" : "ahead of"
        return "The hub's clock is \(abs(clockSkew)) s \(direction) R2's (\(statusText)): synchronize it with NTP."
    }
}
