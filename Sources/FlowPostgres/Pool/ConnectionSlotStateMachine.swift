/// State machine of one connection slot of the pool.
///
/// A pure value: it receives events and the time, and returns the action to perform. States: *waiting* until the next
/// attempt, *connecting*, *live*, and finally *closed*. After the loss of a connection that lived at least 1 s, the
/// next attempt follows immediately. After failures the slot backs off exponentially.
struct ConnectionSlotStateMachine {
    enum State: Hashable, Sendable {
        /// Without a connection until the next attempt. The last `failures` attempts in a row failed.
        case waiting(until: ContinuousClock.Instant, failures: Int)
        /// An attempt is in progress. The `failures` attempts before it failed in a row.
        case connecting(failures: Int)
        /// With a connection, which was established at this time.
        case live(since: ContinuousClock.Instant)
        /// Closed permanently, because the pool is closing.
        case closed
    }

    enum Action: Hashable, Sendable {
        /// Nothing to do.
        case none
        /// Open a connection now.
        case connect
    }

    /// Backoff after the first failure. It doubles with each further failure, up to ``maximumBackoff``.
    static let minimumBackoff = Duration.milliseconds(50)
    /// Maximum backoff, however many attempts have failed.
    static let maximumBackoff = Duration.seconds(3)
    /// Minimum lifetime of a connection whose loss is followed by an immediate attempt. The loss of a younger one
    /// counts as a first failure, so that a server that closes connections immediately is not flooded with attempts.
    static let stabilityPeriod = Duration.seconds(1)
    /// Failed attempts in a row after which units that wait for a connection fail immediately instead of at their
    /// deadlines.
    static let failFastThreshold = 3

    private(set) var state: State

    init(now: ContinuousClock.Instant) { self.state = .waiting(until: now, failures: 0) }

    /// Time of the next attempt; `nil` unless the slot is waiting.
    var wakesAt: ContinuousClock.Instant? {
        if case .waiting(let until, _) = self.state { return until }
        return nil
    }

    /// Whether units should not wait for this slot: three attempts in a row have failed, or it is closed.
    var isFailingFast: Bool {
        switch self.state {
        case .waiting(_, let failures), .connecting(let failures): failures >= Self.failFastThreshold
        case .live: false
        case .closed: true
        }
    }

    /// Whether the connection was established at least `period` ago.
    func hasLived(_ period: Duration, _ now: ContinuousClock.Instant) -> Bool {
        if case .live(let since) = self.state { return now - since >= period }
        return false
    }

    /// Starts the next attempt if its time has come.
    /// - Returns: whether the caller must open a connection now.
    mutating func tick(_ now: ContinuousClock.Instant) -> Action {
        guard case .waiting(let until, let failures) = self.state, until <= now else { return .none }
        self.state = .connecting(failures: failures)
        return .connect
    }

    /// Records that the attempt has established a connection.
    /// - Returns: whether the caller keeps the connection; `false` if the slot was closed during the attempt.
    mutating func connected(_ now: ContinuousClock.Instant) -> Bool {
        guard case .connecting = self.state else { return false }
        self.state = .live(since: now)
        return true
    }

    /// Records that the attempt has failed.
    /// - Parameter jitter: random number from 0 to 1. It spreads the attempts of slots that failed together over half
    ///   to all of the backoff.
    mutating func connectFailed(_ now: ContinuousClock.Instant, jitter: Double) {
        guard case .connecting(let failures) = self.state else { return }
        self.backOff(now, failures: failures + 1, jitter: jitter)
    }

    /// Records the loss of the live connection. The next attempt follows immediately, or after a backoff if the
    /// connection lived less than ``stabilityPeriod``.
    /// - Parameter jitter: as in ``connectFailed(_:jitter:)``.
    mutating func lost(_ now: ContinuousClock.Instant, jitter: Double) {
        guard case .live(let since) = self.state else { return }
        if now - since < Self.stabilityPeriod {
            self.backOff(now, failures: 1, jitter: jitter)
        } else {
            self.state = .waiting(until: now, failures: 0)
        }
    }

    /// Ends the backoff: another slot has connected, so the server is available again.
    mutating func retryNow(_ now: ContinuousClock.Instant) {
        if case .waiting(let until, let failures) = self.state, failures > 0 {
            self.state = .waiting(until: min(until, now), failures: 0)
        }
    }

    /// Closes the slot: no attempt follows.
    mutating func close() { self.state = .closed }

    /// Schedules the next attempt, after the backoff for this number of failures in a row.
    private mutating func backOff(_ now: ContinuousClock.Instant, failures: Int, jitter: Double) {
        let backoff = min(Self.minimumBackoff * (1 << min(failures - 1, 10)), Self.maximumBackoff)
        self.state = .waiting(until: now + backoff * (0.5 + jitter / 2), failures: failures)
    }
}
