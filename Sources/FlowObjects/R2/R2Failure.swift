import FlowCore

/// Why one attempt of a request has failed.
struct R2Failure: Error, Hashable, Sendable {
    enum Reason: Hashable, Sendable {
        case transport(TransportError)
        /// R2's answer. With status 200, too: completing an upload may fail behind a head that says that all is well.
        case answer(status: Int, code: String)
        /// It says that it has other bytes than it was given.
        case contentMismatch
        /// It says yes, and the rest of what it says makes no sense.
        case invalidResponse
        /// The object has more parts than R2 takes.
        case tooManyParts(Int)
    }

    var reason: Reason
    /// Seconds that it asked to wait.
    var retryAfter: Int?
    /// R2's clock less the hub's, in seconds.
    var clockSkew: Int64?
    /// Whether R2 may have done what it was asked, in this attempt or in one before it.
    var mayHaveTakenEffect: Bool

    init(_ reason: Reason, retryAfter: Int? = nil, clockSkew: Int64? = nil) {
        self.reason = reason
        self.retryAfter = retryAfter
        self.clockSkew = clockSkew
        self.mayHaveTakenEffect =
            switch reason {
            // A connection that never was.
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

    /// Whether there is no such object. A bucket that is not there says so only where an answer has a body.
    var isMissingObject: Bool { self.status == 404 && self.code != "NoSuchBucket" && self.code != "NoSuchUpload" }

    var isPreconditionFailed: Bool { self.status == 412 }

    /// R2 refuses what is signed with a time more than 15 minutes off. The answer to a HEAD has no code to say so.
    fileprivate var isClockSkewError: Bool {
        self.code == "RequestTimeTooSkewed" || self.code == "ExpiredRequest"
            || (self.status == 401 || self.status == 403) && abs(self.clockSkew ?? 0) >= 900
    }
}

// MARK: What a caller is told

extension ObjectError {
    /// - Parameter bucket: named where it is the bucket's fault.
    init(_ failure: R2Failure, bucket: String) {
        switch failure.reason {
        case .transport(.cancelled): self = .unavailable("The task was cancelled.")
        case .transport(let error): self = .unavailable("R2 is out of reach: \(error).")
        case .contentMismatch: self = .corrupted("R2 has other bytes than it was given.")
        case .invalidResponse: self = .unavailable("R2 gave an answer that makes no sense.")
        case .tooManyParts(let most):
            self = .refused(
                "The object has more than \(most) parts, which R2 does not take: raise FLOWHUB_R2_PART_BYTES.")
        case .answer(let status, let code) where failure.isClockSkewError:
            self = .refused(Self.clockSkewMessage(code.isEmpty ? "\(status)" : "\(status) \(code)", clockSkew: failure.clockSkew))
        case .answer(let status, let code):
            let statusText = code.isEmpty ? "\(status)" : "\(status) \(code)"
            switch (status, code) {
            case (404, "NoSuchBucket"): self = .refused("There is no bucket \(bucket); look at R2_BUCKET_NAME and the endpoint.")
            case (404, "NoSuchUpload"): self = .refused("The upload is gone: somebody has given it up.")
            case (404, _): self = .notFound
            case (401, _), (403, _):
                self = .refused(
                    "R2 does not let the hub in (\(statusText)): look at its keys, and at what they may do with bucket \(bucket)."
                )
            case (412, _): self = .exists
            case (416, _): self = .invalid("The object has no such part.")
            case (_, "BadDigest"), (_, "XAmzContentSHA256Mismatch"):
                self = .corrupted("The bytes changed on the way to R2 (\(statusText)).")
            default:
                self =
                    RetryClass(failure) == .never
                    ? .refused("R2 refused (\(statusText)).") : .unavailable("R2 is busy or broken (\(statusText)).")
            }
        }
    }

    private static func clockSkewMessage(_ statusText: String, clockSkew: Int64?) -> String {
        guard let clockSkew, clockSkew != 0 else { return "R2 finds the hub's clock wrong (\(statusText)): set it by NTP." }
        return
            "The hub's clock is \(abs(clockSkew)) s \(clockSkew > 0 ? "behind" : "ahead of") R2's (\(statusText)): set it by NTP."
    }
}
