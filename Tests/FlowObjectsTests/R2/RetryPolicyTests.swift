import Testing

@testable import FlowObjects

@Suite struct RetryPolicyTests {
    private static let start = ContinuousClock.now

    private static func limits() -> R2Limits {
        var limits = R2Limits()
        limits.attempts = 5
        limits.retryBaseMilliseconds = 200
        limits.retryCapMilliseconds = 1_000
        limits.retrySeconds = 100
        limits.rotationSeconds = 60
        return limits
    }

    private static func answer(_ status: Int, _ code: String = "") -> R2Failure { R2Failure(.answer(status: status, code: code)) }

    struct Row: CustomTestStringConvertible, Sendable {
        var failure: R2Failure.Reason
        var kind: RetryClass
        init(_ status: Int, _ code: String, _ kind: RetryClass) {
            self.failure = .answer(status: status, code: code)
            self.kind = kind
        }
        init(_ error: TransportError, _ kind: RetryClass) {
            self.failure = .transport(error)
            self.kind = kind
        }
        var testDescription: String { "\(self.failure)" }
    }

    static let table: [Row] = [
        Row(500, "InternalError", .always), Row(503, "ServiceUnavailable", .always), Row(503, "SlowDown", .slowly),
        Row(429, "TooManyRequests", .slowly), Row(429, "", .slowly), Row(400, "ClientDisconnect", .always),
        Row(400, "IncompleteBody", .always), Row(400, "RequestTimeout", .always), Row(400, "BadDigest", .once),
        Row(400, "XAmzContentSHA256Mismatch", .once), Row(408, "", .always), Row(500, "", .always), Row(502, "", .always),
        Row(504, "", .always), Row(520, "", .always), Row(522, "", .always), Row(529, "", .always),
        Row(200, "InternalError", .always),
        Row(409, "OperationAborted", .always), Row(409, "ConditionalRequestConflict", .always),
        Row(401, "Unauthorized", .afterRotation), Row(403, "AccessDenied", .afterRotation),
        Row(403, "SignatureDoesNotMatch", .afterRotation), Row(403, "InvalidAccessKeyId", .afterRotation),
        Row(403, "RequestTimeTooSkewed", .never), Row(400, "ExpiredRequest", .never), Row(404, "NoSuchKey", .never),
        Row(404, "NoSuchBucket", .never), Row(404, "NoSuchUpload", .never), Row(404, "", .never),
        Row(411, "MissingContentLength", .never), Row(412, "PreconditionFailed", .never), Row(416, "InvalidRange", .never),
        Row(400, "EntityTooLarge", .never), Row(400, "EntityTooSmall", .never), Row(400, "InvalidPart", .never),
        Row(400, "MetadataTooLarge", .never), Row(400, "InvalidObjectName", .never),
        Row(403, "ObjectLockedByBucketPolicy", .never),
        Row(501, "NotImplemented", .never), Row(301, "PermanentRedirect", .never), Row(307, "", .never), Row(400, "", .never),
        Row(.connect, .always), Row(.tls, .always), Row(.timeout, .always), Row(.lost, .always), Row(.short, .always),
        Row(.malformed, .always), Row(.other(99), .always), Row(.cancelled, .never), Row(.closed, .never),
    ]

    @Test(arguments: table) func classifiesFailures(_ row: Row) { #expect(RetryClass(R2Failure(row.failure)) == row.kind) }

    @Test func backoffGrowsToCapAndEndsWithLastAttempt() {
        var machine = RetryPolicy(Self.limits(), now: Self.start)
        func next(_ jitter: Double) -> RetryPolicy.Decision {
            machine.failed(Self.answer(503), now: Self.start, rotatedAt: nil, jitter: jitter)
        }
        #expect(next(1) == .retry(after: .milliseconds(200)))
        #expect(next(0.5) == .retry(after: .milliseconds(200)))
        #expect(next(1) == .retry(after: .milliseconds(800)))
        #expect(next(1) == .retry(after: .milliseconds(1_000)))
        #expect(next(1) == .giveUp)
    }

    @Test func rateLimitedRequestWaitsAtLeastOneSecond() {
        var machine = RetryPolicy(Self.limits(), now: Self.start)
        #expect(
            machine.failed(Self.answer(429, "TooManyRequests"), now: Self.start, rotatedAt: nil, jitter: 0)
                == .retry(after: .seconds(1)))
    }

    @Test func honorsRetryAfterWithinTotalTime() {
        var machine = RetryPolicy(Self.limits(), now: Self.start)
        var failure = Self.answer(503)
        failure.retryAfter = 7
        #expect(machine.failed(failure, now: Self.start, rotatedAt: nil, jitter: 1) == .retry(after: .seconds(7)))
        #expect(machine.failed(failure, now: Self.start + .seconds(95), rotatedAt: nil, jitter: 1) == .giveUp)
        failure.retryAfter = 86_400
        #expect(machine.failed(failure, now: Self.start, rotatedAt: nil, jitter: 1) == .giveUp)
    }

    @Test func retriesDigestMismatchOnce() {
        var machine = RetryPolicy(Self.limits(), now: Self.start)
        let failure = Self.answer(400, "BadDigest")
        #expect(machine.failed(failure, now: Self.start, rotatedAt: nil, jitter: 0) == .retry(after: .zero))
        #expect(machine.failed(failure, now: Self.start, rotatedAt: nil, jitter: 0) == .giveUp)
    }

    @Test func retriesRejectedCredentialsFor60SecondsAfterRotation() {
        var machine = RetryPolicy(Self.limits(), now: Self.start)
        let failure = Self.answer(403, "SignatureDoesNotMatch")
        #expect(machine.failed(failure, now: Self.start, rotatedAt: nil, jitter: 0) == .giveUp)
        for second in 0..<60 {
            let now = Self.start + .seconds(second)
            #expect(machine.failed(failure, now: now, rotatedAt: Self.start, jitter: 0) == .retry(after: .seconds(1)))
        }
        #expect(machine.failed(failure, now: Self.start + .seconds(60), rotatedAt: Self.start, jitter: 0) == .giveUp)
    }

    @Test func doesNotRetryPermanentFailures() {
        var machine = RetryPolicy(Self.limits(), now: Self.start)
        #expect(machine.failed(Self.answer(412), now: Self.start, rotatedAt: Self.start, jitter: 0) == .giveUp)
        #expect(machine.failed(R2Failure(.transport(.cancelled)), now: Self.start, rotatedAt: nil, jitter: 0) == .giveUp)
    }
}
