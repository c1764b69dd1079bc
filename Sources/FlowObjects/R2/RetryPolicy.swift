/// What may become of a request that failed, if it is made again.
enum RetryClass: Hashable, Sendable {
    /// The same answer would come again.
    case never
    case always
    /// At least a second later: one key takes one write a second.
    case slowly
    /// The bytes may have changed on the way; a second time they would not.
    case once
    /// R2 may not know new credentials yet.
    case afterRotation

    init(_ failure: R2Failure) {
        switch failure.reason {
        case .transport(.cancelled), .transport(.closed), .tooManyParts: self = .never
        case .transport: self = .always
        case .contentMismatch, .invalidResponse: self = .always
        case .answer(let status, let code): self = Self.answer(status, code)
        }
    }

    /// Cloudflare, "R2 error codes", and AWS, "Error responses".
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

/// Decides whether and when a request is made again: exponential back-off with full jitter (AWS Architecture Blog, "Exponential
/// Backoff and Jitter"), within a number of attempts and a span of time. A value, with the time and the dice from outside.
struct RetryPolicy: Sendable {
    enum Decision: Hashable, Sendable {
        case giveUp
        case retry(after: Duration)
    }

    private let limits: R2Limits
    private let deadline: ContinuousClock.Instant
    private var failures = 0
    private var hasRetriedDigest = false

    init(_ limits: R2Limits, now: ContinuousClock.Instant) {
        self.limits = limits
        self.deadline = now + .seconds(limits.retrySeconds)
    }

    /// - Parameters:
    ///   - rotatedAt: when the credentials last changed.
    ///   - jitter: evenly from 0 to 1.
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
            // Not counted: it is a matter of time, not of luck.
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

    /// An answer that would come too late is worth no wait.
    private func wait(_ wait: Duration, _ now: ContinuousClock.Instant) -> Decision {
        now + wait < self.deadline ? .retry(after: wait) : .giveUp
    }
}
