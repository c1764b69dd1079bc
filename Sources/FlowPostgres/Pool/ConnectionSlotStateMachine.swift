/// The life of one place for a connection.
///
/// Pure: it is told what happened and what time it is, and says what to do. *Resting* until its next try; *connecting*; *live*;
/// after a loss it tries again at once, then at growing intervals; *closed* at the end.
struct ConnectionSlotStateMachine {
    enum State: Hashable, Sendable {
        /// Without a connection. `failures` tries in a row did not succeed.
        case resting(until: ContinuousClock.Instant, failures: Int)
        case connecting(failures: Int)
        case live(since: ContinuousClock.Instant)
        case closed
    }

    enum Action: Hashable, Sendable {
        case none
        case connect
    }

    /// The first pause after a failure; it doubles with each, up to the longest.
    static let firstPause = Duration.milliseconds(50)
    static let longestPause = Duration.seconds(3)
    /// A connection that lived shorter than this counts as one more failure: a server that throws everybody out at once must not
    /// be stormed.
    static let shortestLife = Duration.seconds(1)
    /// Failures in a row after which whoever waits is told at once instead of at the end of his patience.
    static let hopelessFailures = 3

    private(set) var state: State

    init(now: ContinuousClock.Instant) { self.state = .resting(until: now, failures: 0) }

    /// When ``tick(_:)`` has something to do; `nil` if something else must happen first.
    var wakesAt: ContinuousClock.Instant? {
        if case .resting(let until, _) = self.state { return until }
        return nil
    }

    /// Whether waiting for this place is of no use.
    var isHopeless: Bool {
        switch self.state {
        case .resting(_, let failures), .connecting(let failures): failures >= Self.hopelessFailures
        case .live: false
        case .closed: true
        }
    }

    mutating func tick(_ now: ContinuousClock.Instant) -> Action {
        guard case .resting(let until, let failures) = self.state, until <= now else { return .none }
        self.state = .connecting(failures: failures)
        return .connect
    }

    /// - Returns: whether the connection is wanted; after a close it is not.
    mutating func connected(_ now: ContinuousClock.Instant) -> Bool {
        guard case .connecting = self.state else { return false }
        self.state = .live(since: now)
        return true
    }

    /// - Parameter jitter: 0 to 1, so that many that failed together do not try again together.
    mutating func connectFailed(_ now: ContinuousClock.Instant, jitter: Double) {
        guard case .connecting(let failures) = self.state else { return }
        self.rest(now, failures: failures + 1, jitter: jitter)
    }

    mutating func lost(_ now: ContinuousClock.Instant, jitter: Double) {
        guard case .live(let since) = self.state else { return }
        if now - since < Self.shortestLife {
            self.rest(now, failures: 1, jitter: jitter)
        } else {
            self.state = .resting(until: now, failures: 0)
        }
    }

    /// Another place has reached the server: it is there, and waiting longer is of no use.
    mutating func serverIsThere(_ now: ContinuousClock.Instant) {
        if case .resting(let until, let failures) = self.state, failures > 0 {
            self.state = .resting(until: min(until, now), failures: 0)
        }
    }

    mutating func close() { self.state = .closed }

    private mutating func rest(_ now: ContinuousClock.Instant, failures: Int, jitter: Double) {
        let pause = min(Self.firstPause * (1 << min(failures - 1, 10)), Self.longestPause)
        self.state = .resting(until: now + pause * (0.5 + jitter / 2), failures: failures)
    }
}
