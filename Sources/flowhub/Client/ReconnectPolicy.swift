/// When to connect again: after what the hub asked for, and longer and longer while it does not help.
///
/// The hub spreads its clients by a `retry:` of each one's own, so that is where the waiting starts. A connection that was
/// made and brought nothing but a farewell counts as a failure, since otherwise a full hub would be asked again at full speed.
struct ReconnectPolicy: Hashable, Sendable {
    static let defaultRetryMilliseconds = 2000

    /// The longest wait that back-off alone may come to. What the hub asks for is kept up to ``greatestRetry``.
    static let greatestBackOff = 30_000

    /// A `retry:` above this is not waited for.
    static let greatestRetry = 600_000

    private(set) var retryMilliseconds = Self.defaultRetryMilliseconds
    private(set) var failures = 0

    /// The stream said `retry:`.
    mutating func asked(milliseconds: Int) { self.retryMilliseconds = min(max(milliseconds, 0), Self.greatestRetry) }

    /// Something useful arrived.
    mutating func delivered() { self.failures = 0 }

    /// - Returns: milliseconds to wait: what the hub asked for, doubled with each failure in a row but the first up to
    ///   ``greatestBackOff``, and up to a quarter more, so that clients that fell together do not come back together.
    mutating func nextDelay(using generator: inout some RandomNumberGenerator) -> Int {
        let doubled = max(self.retryMilliseconds, 250) << min(self.failures, 10)
        let wait = self.failures == 0 ? self.retryMilliseconds : max(self.retryMilliseconds, min(doubled, Self.greatestBackOff))
        self.failures += 1
        return wait + Int.random(in: 0...(wait / 4), using: &generator)
    }
}
