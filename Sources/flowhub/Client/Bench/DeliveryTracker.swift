/// Counts the deliveries (one event to one subscriber) that are expected, arrived, or were given up. A value type without input
/// or output.
struct DeliveryTracker: Hashable, Sendable {
    /// Number of connected subscribers of each flow.
    private(set) var subscribers: [Int]
    /// Number of deliveries that are expected and have not arrived yet.
    private(set) var due = 0
    /// Number of deliveries that were given up and have not arrived since.
    private(set) var writtenOff = 0
    /// Number of deliveries that arrived, including those of the warm-up.
    private(set) var delivered: UInt64 = 0

    /// Time at which this run started. Events with earlier time stamps belong to another run.
    private var start: UInt64
    /// Time of the most recent ``writeOff(now:)``. Deliveries of events with earlier time stamps were given up.
    private var dueSince: UInt64

    init(flows: Int, subscribers: Int, start: UInt64) {
        self.subscribers = (0..<flows).map { subscribers / flows + ($0 < subscribers % flows ? 1 : 0) }
        self.start = start
        self.dueSince = start
    }

    /// Average number of deliveries of one publication, at least 1. This many expected deliveries count as one publication in
    /// flight.
    var perPublication: Int { max(1, self.subscribers.reduce(0, +) / self.subscribers.count) }

    /// Whether a closed loop with this many publications in flight may send another one.
    func hasRoom(window: Int) -> Bool { self.due <= (window - 1) * self.perPublication }

    /// Expects a delivery to each subscriber of the flow, to which an event was published.
    mutating func published(flow: Int) { self.due += self.subscribers[flow] }

    /// Expects no delivery of an event whose publication the hub rejected.
    mutating func rejected(flow: Int) { self.due = max(0, self.due - self.subscribers[flow]) }

    /// Counts the delivery of the event with this time stamp.
    /// - Returns: `false` if the event belongs to another run and is not counted.
    mutating func received(stamp: UInt64) -> Bool {
        guard stamp >= self.start else { return false }
        self.delivered += 1
        if stamp >= self.dueSince {
            self.due = max(0, self.due - 1)
        } else {
            self.writtenOff = max(0, self.writtenOff - 1)
        }
        return true
    }

    /// Gives up all expected deliveries, because nothing has arrived for some time: the hub has conflated or lost the events.
    mutating func writeOff(now: UInt64) {
        self.writtenOff += self.due
        self.due = 0
        self.dueSince = now
    }

    /// Expects no further deliveries to one subscriber of the flow, whose stream was closed.
    mutating func subscriberClosed(flow: Int) { self.subscribers[flow] = max(0, self.subscribers[flow] - 1) }
}
