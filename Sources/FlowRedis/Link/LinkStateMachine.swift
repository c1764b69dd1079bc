/// The life of one connection that is always wanted. Events in, what to do out; no socket and no clock.
///
/// *idle* → *connecting* → *greeting* → *ready*; whatever is lost goes to *waiting* and back to *connecting*; *closed* ends it.
/// The first try after a connection that stood for a while is immediate, then the pauses double up to ten seconds, jittered so that
/// many instances do not come back together.
struct LinkStateMachine: ~Copyable {
    enum Action: Hashable {
        case nothing
        case connect
        case wait(milliseconds: Int)
        /// Ask to be let in.
        case handshake
        case ready
        /// Close what is open.
        case close
    }

    private enum State { case idle, connecting, handshaking, ready, waiting, closed }

    static let minimumBackoff = 100
    static let maximumBackoff = 10_000
    /// After a connection that was let in and lost at once: the server is there.
    static let maximumShortLivedBackoff = 1_000

    private var state = State.idle
    /// Tries since the last time that it was let in.
    private var failures = 0
    /// Times that it was let in and lost at once.
    private var shortLivedCount = 0
    private var isStable = false

    var isReady: Bool { self.state == .ready }

    mutating func start() -> Action {
        guard self.state == .idle else { return .nothing }
        self.state = .connecting
        return .connect
    }

    mutating func connected() -> Action {
        guard self.state == .connecting else { return .close }
        self.state = .handshaking
        return .handshake
    }

    mutating func handshakeSucceeded() -> Action {
        guard self.state == .handshaking else { return .nothing }
        self.state = .ready
        self.failures = 0
        return .ready
    }

    /// The connection has been ready for a while. One that is let in and thrown out at once is a try like any other.
    mutating func provedStable() {
        guard self.state == .ready else { return }
        self.isStable = true
        self.shortLivedCount = 0
    }

    /// The connection, or the try for one, is over.
    /// - Parameter jitter: 0 to 1.
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

    private mutating func wait(_ backoff: Int, _ jitter: Double) -> Action {
        self.state = .waiting
        return .wait(milliseconds: backoff / 2 + Int(Double(backoff / 2) * jitter))
    }

    mutating func backoffElapsed() -> Action {
        guard self.state == .waiting else { return .nothing }
        self.state = .connecting
        return .connect
    }

    mutating func stop() -> Action {
        self.state = .closed
        return .close
    }
}
