/// Tells whether what is published reaches the connection that serves the subscribers. A value; no connection and no clock.
///
/// PING proves nothing: after a failover a connection may sit on a server that answers it and is never told of anything. So
/// each instance publishes to itself, and only what comes back counts.
struct Canary: ~Copyable {
    enum Assessment: Hashable {
        case ok
        /// Nothing has come for too long, though the server took what was sent: the subscribers' connection is to be replaced.
        case replace
        /// Nothing has come for too long, and nothing could be sent either: that connection is not to blame.
        case degraded
    }

    private let timeout: Int64
    /// Since when the connection is complete; a fresh one is given time.
    private var startedAt: Int64?
    private var lastReceivedAt: Int64?
    private var lastNumber: UInt64 = 0
    /// The first that the server took after the last one heard.
    private var acceptedAt: Int64?
    private var sent: UInt64 = 0
    /// When those were sent that have not come back.
    private var sentAt: [UInt64: Int64] = [:]
    private(set) var isDelivering = false
    /// Milliseconds from publication to arrival, of the last one that came.
    private(set) var lag: Int64?

    /// Whether there is a connection that it watches.
    var hasStarted: Bool { self.startedAt != nil }

    /// - Parameter timeout: milliseconds without a word.
    init(timeout: Int64) { self.timeout = timeout }

    /// The subscribers' connection has everything that it asked for.
    mutating func started(at now: Int64) {
        self.startedAt = now
        self.lastReceivedAt = nil
        self.acceptedAt = nil
    }

    mutating func lost() {
        self.startedAt = nil
        self.isDelivering = false
    }

    /// Nothing can be sent: what is still on its way shows nothing any more.
    mutating func sendingFailed() {
        self.sentAt = [:]
        self.isDelivering = false
    }

    mutating func next(at now: Int64) -> UInt64 {
        self.sent += 1
        self.sentAt[self.sent] = now
        // As many as are out within the time that matters.
        if self.sentAt.count > 256 { self.sentAt = [self.sent: now] }
        return self.sent
    }

    /// The server took a publication. Its word may come after the publication itself.
    mutating func accepted(_ number: UInt64, at now: Int64) {
        if number > self.lastNumber, self.acceptedAt == nil { self.acceptedAt = now }
    }

    /// One came back. - Returns: whether delivery begins with it.
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

    /// What came was left unread until now, so that nothing can be said of the time before.
    mutating func readingResumed(at now: Int64) {
        if self.startedAt != nil { self.lastReceivedAt = now }
        self.acceptedAt = nil
    }

    mutating func assess(at now: Int64) -> Assessment {
        guard let startedAt = self.startedAt, now - (self.lastReceivedAt ?? startedAt) >= self.timeout else { return .ok }
        self.isDelivering = false
        guard let accepted = self.acceptedAt, now - accepted >= self.timeout / 2 else { return .degraded }
        return .replace
    }
}
