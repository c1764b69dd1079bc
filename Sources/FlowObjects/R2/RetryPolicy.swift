/// How a failed request may be retried.
enum RetryClass: Hashable, Sendable {
    /// The request is not retried: the response would be the same.
    case never
    /// The request is retried after the backoff.
    case always
    /// The request is retried after the backoff and 1 s more: R2 allows one write per second to a key.
    case slowly
    /// The request is retried once: its bytes may have been changed in transit, which is unlikely to happen twice.
    case once
    /// The request is retried only within ``R2Limits/rotationSeconds`` after a change of credentials, since R2 may not know
    /// the new credentials yet.
    case afterRotation

    /// Classifies a failure.
    init(_ failure: R2Failure) {
        switch failure.reason {
        case .transport(.cancelled), .transport(.closed), .tooManyParts: self = .never
        case .transport: self = .always
        case .contentMismatch, .invalidResponse: self = .always
        case .answer(let status, let code): self = Self.answer(status, code)
        }
    }

    /// Classifies an error response (Cloudflare, "R2 error codes"; AWS, "Error responses").
    private static func answer(_ status: Int, _ code: String) -> RetryClass {
        switch code {
        case "InternalError", "ServiceUnavailable", "ClientDisconnect", "IncompleteBody", "RequestTimeout", "OperationAborted",
            "ConditionalRequestConflict":
            return .always
        case "TooManyRequests", "SlowDown": return .slowly
        case "BadDigest", "XAmzContentSHA256Mismatch": return .once
        case "RequestTimeTooSkewed", "ExpiredRequest", "NotImplemented", "NotEntitled", "ObjectLockedByBucketPolicy":
            return .never
        default: break
        }
        switch status {
        case 401, 403: return .afterRotation
        case 429: return .slowly
        case 408, 500, 502, 503, 504, 520...529: return .always
        default: return .never
        }
    }
}

/// Decides whether and when a request is retried: exponential backoff with full jitter (AWS Architecture Blog,
/// "Exponential Backoff and Jitter"), up to a maximum number of attempts and a deadline. A value type; time and jitter
/// are parameters.
struct RetryPolicy: Sendable {
    enum Decision: Hashable, Sendable {
        /// No further attempt: the request has failed.
        case giveUp
        /// The next attempt starts after this wait.
        case retry(after: Duration)
    }

    private let limits: R2Limits
    private let deadline: ContinuousClock.Instant
    /// Number of failed attempts, except those of class ``RetryClass/afterRotation`` and ``RetryClass/never``.
    private var failures = 0
    /// Whether a request of class ``RetryClass/once`` was retried.
    private var hasRetriedDigest = false

    /// - Parameter now: start of the request, from which the deadline counts.
    init(_ limits: R2Limits, now: ContinuousClock.Instant) {
        self.limits = limits
        self.deadline = now + .seconds(limits.retrySeconds)
    }

    /// Records a failed attempt and decides whether another one follows.
    /// - Parameters:
    ///   - rotatedAt: when the credentials last changed; `nil` if they have not.
    ///   - jitter: uniformly distributed random number from 0 to 1.
    mutating func failed(
        _ failure: R2Failure, now: ContinuousClock.Instant, rotatedAt: ContinuousClock.Instant?, jitter: Double
    ) -> Decision {
        let kind = RetryClass(failure)
        switch kind {
        case .never: return .giveUp
        case .once:
            if self.hasRetriedDigest { return .giveUp }
            self.hasRetriedDigest = true
        case .afterRotation:
            // Not counted as a failed attempt: R2 accepts new credentials only after some time; `rotationSeconds` bounds the
            // retries.
            guard let rotatedAt, now - rotatedAt < .seconds(self.limits.rotationSeconds) else { return .giveUp }
            return self.wait(.seconds(1) + .seconds(1) * jitter, now)
        case .always, .slowly: break
        }
        self.failures += 1
        guard self.failures < self.limits.attempts else { return .giveUp }
        let ceiling = min(
            Double(self.limits.retryBaseMilliseconds) * Double(1 << min(self.failures - 1, 30)),
            Double(self.limits.retryCapMilliseconds))
        var wait = Duration.milliseconds(1) * (ceiling * jitter)
        if kind == .slowly { wait += .seconds(1) }
        if let asked = failure.retryAfter { wait = max(wait, .seconds(asked)) }
        return self.wait(wait, now)
    }

    /// Decides on a retry after `wait`, or gives up if the attempt would start after the deadline.
    private func wait(_ wait: Duration, _ now: ContinuousClock.Instant) -> Decision {
        now + wait < self.deadline ? .retry(after: wait) : .giveUp
    }
}
