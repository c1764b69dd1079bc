/// Reconnect delays: the hub's `retry:`, doubled with each further failure in a row.
///
/// The hub sends each client a random `retry:`, so that they do not all reconnect at the same time; the first delay is that
/// value. A connection that delivered only `closing` counts as a failure; otherwise clients would reconnect to a full hub
/// without backoff.
struct ReconnectPolicy: Hashable, Sendable {
    static let defaultRetryMilliseconds = 2000

    /// Maximum delay in milliseconds that backoff alone reaches. A longer `retry:` is respected up to ``maximumRetry``.
    static let maximumBackoff = 30_000

    /// Maximum `retry:` in milliseconds; a higher one is capped.
    static let maximumRetry = 600_000

    private(set) var retryMilliseconds = Self.defaultRetryMilliseconds
    private(set) var failures = 0

    /// Stores the `retry:` that the hub sent as the next first delay, up to ``maximumRetry``.
    mutating func receivedRetry(milliseconds: Int) { self.retryMilliseconds = min(max(milliseconds, 0), Self.maximumRetry) }

    /// The connection delivered an event other than `closing`, or moved the cursor: resets the backoff.
    mutating func delivered() { self.failures = 0 }

    /// Counts a connection that failed or ended, and computes the delay before the next attempt.
    /// - Returns: milliseconds: the hub's `retry:`, doubled for each failure in a row after the first, up to
    ///   ``maximumBackoff``, plus up to 25 % of jitter.
    mutating func nextDelay(using generator: inout some RandomNumberGenerator) -> Int {
        let doubled = max(self.retryMilliseconds, 250) << min(self.failures, 10)
        let wait = self.failures == 0 ? self.retryMilliseconds : max(self.retryMilliseconds, min(doubled, Self.maximumBackoff))
        self.failures += 1
        return wait + Int.random(in: 0...(wait / 4), using: &generator)
    }
}
