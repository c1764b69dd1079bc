import Synchronization

/// Limits how often a repeated event is logged: the first one at once, later ones at most once per interval, with the number of
/// events since the last log line. Safe to use from any thread.
package final class LogLimiter: Sendable {
    private struct State {
        var loggedAt: ContinuousClock.Instant?
        var waiting = 0
    }

    private let interval: Duration
    private let state = Mutex(State())

    package init(interval: Duration = .seconds(10)) { self.interval = interval }

    /// Counts events.
    /// - Returns: the number of events since the last log line, these included, to be logged now; `nil` if it is too early.
    package func add(_ count: Int = 1, now: ContinuousClock.Instant = .now) -> Int? {
        self.state.withLock { state in
            state.waiting += count
            if let last = state.loggedAt, now - last < self.interval { return nil }
            state.loggedAt = now
            defer { state.waiting = 0 }
            return state.waiting
        }
    }
}
