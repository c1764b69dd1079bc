/// State machine that decides from canaries whether published messages arrive on the subscriber connection. A value
/// type without I/O; times are parameters, in milliseconds of a monotonic clock.
///
/// A reply to PING proves nothing: after a failover, a connection may lead to a server that answers PING but receives
/// no messages. Therefore each instance publishes canaries to itself, and only a received canary counts.
struct Canary: ~Copyable {
    enum Assessment: Hashable {
        /// A canary was received within the timeout. Also the result while the subscriber connection is not complete (see
        /// ``started(at:)``), and until it has been complete for as long as the timeout.
        case ok
        /// No canary was received within the timeout, although the server accepted one at least half the timeout ago:
        /// replace the subscriber connection.
        case replace
        /// No canary was received within the timeout, but the server accepted none early enough: the subscriber connection
        /// may not be the cause.
        case degraded
    }

    private let timeout: Int64
    /// Milliseconds without a received canary after which delivery counts as degraded: the timeout, or longer while canaries
    /// are sent at a longer interval.
    private var silenceLimit: Int64
    /// When the server had confirmed all initial subscriptions of the subscriber connection; `nil` before; see
    /// ``started(at:)``. The timeout is measured from then until the first canary arrives.
    private var startedAt: Int64?
    /// When the most recent canary arrived, or when reading resumed after a pause; `nil` if neither happened since
    /// ``startedAt``.
    private var lastReceivedAt: Int64?
    /// Number of the most recently received canary.
    private var lastNumber: UInt64 = 0
    /// When the server first accepted a canary newer than the most recently received one; `nil` if it accepted none.
    private var acceptedAt: Int64?
    /// Number of the most recently sent canary.
    private var sent: UInt64 = 0
    /// Send times of the canaries that are still expected, by number.
    private var sentAt: [UInt64: Int64] = [:]
    /// Whether a canary has arrived since delivery last became degraded.
    private(set) var isDelivering = false
    /// Milliseconds from publication to arrival of the most recently received canary; `nil` before the first one.
    private(set) var lag: Int64?

    /// Whether the server has confirmed all initial subscriptions of the subscriber connection; see ``started(at:)``.
    var hasStarted: Bool { self.startedAt != nil }

    /// - Parameter timeout: milliseconds without a received canary after which delivery counts as degraded.
    init(timeout: Int64) {
        self.timeout = timeout
        self.silenceLimit = timeout
    }

    /// Records that the server has confirmed all initial subscriptions of the subscriber connection: those that were
    /// requested when it was established.
    mutating func started(at now: Int64) {
        self.startedAt = now
        self.lastReceivedAt = nil
        self.acceptedAt = nil
    }

    /// Records that the subscriber connection was lost.
    mutating func lost() {
        self.startedAt = nil
        self.isDelivering = false
    }

    /// Records that the command connection was lost. Canaries in flight no longer count.
    mutating func sendingFailed() {
        self.sentAt = [:]
        self.isDelivering = false
    }

    /// Assigns the number of the canary that is sent now.
    mutating func next(at now: Int64) -> UInt64 {
        self.sent += 1
        self.sentAt[self.sent] = now
        // Bounds memory: with more than 256 canaries outstanding, all but the newest are forgotten.
        if self.sentAt.count > 256 { self.sentAt = [self.sent: now] }
        return self.sent
    }

    /// Records that the server accepted a canary. The reply may arrive after the canary itself.
    mutating func accepted(_ number: UInt64, at now: Int64) {
        if number > self.lastNumber, self.acceptedAt == nil { self.acceptedAt = now }
    }

    /// Records a received canary.
    /// - Returns: whether delivery changes from degraded to ok.
    mutating func received(_ number: UInt64, at now: Int64) -> Bool {
        guard self.startedAt != nil, let sentAt = self.sentAt[number] else { return false }
        self.sentAt = self.sentAt.filter { $0.key > number }
        self.lag = max(0, now - sentAt)
        self.lastReceivedAt = now
        self.lastNumber = number
        self.acceptedAt = nil
        defer { self.isDelivering = true }
        return !self.isDelivering
    }

    /// Records that canaries are sent at another interval from now on: delivery counts as degraded without one for
    /// `extra` milliseconds more than the timeout. Restarts the timeout.
    mutating func intervalChanged(extra: Int64, at now: Int64) {
        self.silenceLimit = self.timeout + extra
        if self.startedAt != nil { self.lastReceivedAt = now }
    }

    /// Restarts the timeout after a pause in reading, since nothing could be received during it.
    mutating func readingResumed(at now: Int64) {
        if self.startedAt != nil { self.lastReceivedAt = now }
        self.acceptedAt = nil
    }

    /// Assesses whether canaries arrive. If none arrived within the timeout, delivery counts as degraded.
    mutating func assess(at now: Int64) -> Assessment {
        guard let startedAt = self.startedAt, now - (self.lastReceivedAt ?? startedAt) >= self.silenceLimit else { return .ok }
        self.isDelivering = false
        guard let accepted = self.acceptedAt, now - accepted >= self.timeout / 2 else { return .degraded }
        return .replace
    }
}
