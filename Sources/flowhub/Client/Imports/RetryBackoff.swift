/// Limits and delays of the attempts of an upload or download: exponential backoff with jitter.
struct RetryBackoff {
    /// Maximum number of attempts, the first one included.
    static let maximumAttempts = 5
    /// Maximum `Retry-After` in seconds that is respected; with a longer one there is no further attempt.
    static let maximumWait = 60

    private var attempts = 1
    /// Minimum of the next delay in milliseconds; the maximum is twice that.
    private var backoff: Int

    init(minimumBackoff milliseconds: Int = 500) { self.backoff = milliseconds }

    /// Counts a failed attempt.
    /// - Parameter afterSeconds: the `Retry-After` of its response; `nil` without one.
    /// - Returns: the delay before the next attempt; `nil` if there must be no further attempt.
    mutating func next(afterSeconds: Int?) -> Duration? {
        let requestedSeconds = max(afterSeconds ?? 0, 0)
        guard self.attempts < Self.maximumAttempts, requestedSeconds <= Self.maximumWait else { return nil }
        self.attempts += 1
        let wait = max(self.backoff + Int.random(in: 0...self.backoff), requestedSeconds * 1_000)
        self.backoff *= 2
        return .milliseconds(wait)
    }
}
