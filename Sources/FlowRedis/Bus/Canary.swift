/// Tells whether what is published reaches the connection that serves the subscribers. A value; no connection and no clock.
///
/// PING proves nothing: after a failover a connection may sit on a server that answers it and is never told of anything. So
/// each instance publishes to itself, and only what comes back counts.
struct Canary: ~Copyable {
    enum Assessment: Hashable {
        case fine
        /// Nothing has come for too long, though the server took what was sent: the subscribers' connection is to be replaced.
        case replace
        /// Nothing has come for too long, and nothing could be sent either: that connection is not to blame.
        case blind
    }

    private let blindAfter: Int64
    /// Since when the connection is complete; a fresh one is given time.
    private var since: Int64?
    private var lastHeard: Int64?
    private var lastNumber: UInt64 = 0
    /// The first that the server took after the last one heard.
    private var takenAt: Int64?
    private var sent: UInt64 = 0
    /// When those were sent that have not come back.
    private var sentAt: [UInt64: Int64] = [:]
    private(set) var isDelivering = false
    /// Milliseconds from publication to arrival, of the last one that came.
    private(set) var lag: Int64?

    /// Whether there is a connection that it watches.
    var hasBegun: Bool { self.since != nil }

    /// - Parameter blindAfter: milliseconds without a word.
    init(blindAfter: Int64) { self.blindAfter = blindAfter }

    /// The subscribers' connection has everything that it asked for.
    mutating func began(at now: Int64) {
        self.since = now
        self.lastHeard = nil
        self.takenAt = nil
    }

    mutating func lost() {
        self.since = nil
        self.isDelivering = false
    }

    /// Nothing can be sent: what is still on its way shows nothing any more.
    mutating func muted() {
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
    mutating func taken(_ number: UInt64, at now: Int64) {
        if number > self.lastNumber, self.takenAt == nil { self.takenAt = now }
    }

    /// One came back. - Returns: whether delivery begins with it.
    mutating func heard(_ number: UInt64, at now: Int64) -> Bool {
        guard self.since != nil, let sentAt = self.sentAt[number] else { return false }
        self.sentAt = self.sentAt.filter { $0.key > number }
        self.lag = max(0, now - sentAt)
        self.lastHeard = now
        self.lastNumber = number
        self.takenAt = nil
        defer { self.isDelivering = true }
        return !self.isDelivering
    }

    /// What came was left unread until now, so that nothing can be said of the time before.
    mutating func excused(at now: Int64) {
        if self.since != nil { self.lastHeard = now }
        self.takenAt = nil
    }

    mutating func look(at now: Int64) -> Assessment {
        guard let since = self.since, now - (self.lastHeard ?? since) >= self.blindAfter else { return .fine }
        self.isDelivering = false
        guard let taken = self.takenAt, now - taken >= self.blindAfter / 2 else { return .blind }
        return .replace
    }
}
