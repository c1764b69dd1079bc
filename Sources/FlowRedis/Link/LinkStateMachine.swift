/// State machine of a connection that is re-established until it is stopped. Each method records an event and returns
/// the action that the caller must perform. No I/O and no clock.
///
/// *idle* → *connecting* → *handshaking* → *ready*. A loss leads to *waiting* and back to *connecting*; *closed* is
/// final. After the loss of a stable connection (ready for 1 s or longer), the first attempt is immediate. Otherwise the
/// backoff doubles up to 10 s, with jitter, so that many instances do not reconnect at the same time.
struct LinkStateMachine: ~Copyable {
    enum Action: Hashable {
        case nothing
        /// Start an attempt to connect.
        case connect
        /// Wait, then call ``backoffElapsed()``.
        case wait(milliseconds: Int)
        /// Send the handshake.
        case handshake
        /// Report that commands can be sent; after 1 s call ``provedStable()``.
        case ready
        /// Close the connection, if there is one.
        case close
    }

    private enum State { case idle, connecting, handshaking, ready, waiting, closed }

    /// Smallest backoff in milliseconds, before jitter.
    static let minimumBackoff = 100
    /// Largest backoff in milliseconds, before jitter.
    static let maximumBackoff = 10_000
    /// Largest backoff in milliseconds after the loss of a connection that was ready but not stable. It is below
    /// ``maximumBackoff``, because the server is reachable.
    static let maximumShortLivedBackoff = 1_000

    private var state = State.idle
    /// Failed attempts since the last successful handshake.
    private var failures = 0
    /// Consecutive connections that were ready and were lost before they were stable.
    private var shortLivedCount = 0
    /// Whether the current connection is stable.
    private var isStable = false

    /// Whether the handshake has succeeded and the connection was not lost since.
    var isReady: Bool { self.state == .ready }

    /// Starts the first attempt to connect. Later calls have no effect.
    mutating func start() -> Action {
        guard self.state == .idle else { return .nothing }
        self.state = .connecting
        return .connect
    }

    /// Records that the attempt has opened a connection. If the link was stopped meanwhile, the connection is closed.
    mutating func connected() -> Action {
        guard self.state == .connecting else { return .close }
        self.state = .handshaking
        return .handshake
    }

    /// Records that the server has accepted the handshake.
    mutating func handshakeSucceeded() -> Action {
        guard self.state == .handshaking else { return .nothing }
        self.state = .ready
        self.failures = 0
        return .ready
    }

    /// Records that the connection is stable. The loss of a connection that is ready but not stable yet is followed by
    /// backoff.
    mutating func provedStable() {
        guard self.state == .ready else { return }
        self.isStable = true
        self.shortLivedCount = 0
    }

    /// Records the loss of the connection, or the failure of an attempt to connect.
    /// - Parameter jitter: random number from 0 to 1.
    mutating func lost(jitter: Double) -> Action {
        switch self.state {
        case .ready where self.isStable:
            self.isStable = false
            self.state = .connecting
            return .connect
        case .ready:
            self.shortLivedCount += 1
            return self.wait(min(Self.maximumShortLivedBackoff, Self.minimumBackoff << min(self.shortLivedCount - 1, 10)), jitter)
        case .connecting, .handshaking:
            self.failures += 1
            return self.wait(min(Self.maximumBackoff, Self.minimumBackoff << min(self.failures - 1, 10)), jitter)
        case .idle, .waiting, .closed: return .nothing
        }
    }

    /// Starts to wait before the next attempt: half of the backoff, plus up to the other half by `jitter`.
    private mutating func wait(_ backoff: Int, _ jitter: Double) -> Action {
        self.state = .waiting
        return .wait(milliseconds: backoff / 2 + Int(Double(backoff / 2) * jitter))
    }

    /// Records that the wait is over, and starts the next attempt.
    mutating func backoffElapsed() -> Action {
        guard self.state == .waiting else { return .nothing }
        self.state = .connecting
        return .connect
    }

    /// Enters the final state *closed*: the connection is closed and never re-established.
    mutating func stop() -> Action {
        self.state = .closed
        return .close
    }
}
