/// Counts the deliveries that are due, arrived, or written off. A value type without input or output.
struct DeliveryTracker: Hashable, Sendable {
    /// Number of connected subscribers of each flow.
    private(set) var subscribers: [Int]
    /// Deliveries that have not arrived yet.
    private(set) var due = 0
    /// Deliveries that were written off and have not arrived late.
    private(set) var writtenOff = 0
    /// All deliveries that arrived, warm-up included.
    private(set) var delivered: UInt64 = 0

    /// Stamps below this belong to another run.
    private var start: UInt64
    /// Stamps below this were written off.
    private var dueSince: UInt64

    init(flows: Int, subscribers: Int, start: UInt64) {
        self.subscribers = (0..<flows).map { subscribers / flows + ($0 < subscribers % flows ? 1 : 0) }
        self.start = start
        self.dueSince = start
    }

    /// Average number of deliveries of one publication, at least 1. Unit of the window.
    var perPublication: Int { max(1, self.subscribers.reduce(0, +) / self.subscribers.count) }

    /// Whether a closed loop with this many publications in flight may send another one.
    func hasRoom(window: Int) -> Bool { self.due <= (window - 1) * self.perPublication }

    mutating func published(flow: Int) { self.due += self.subscribers[flow] }

    /// A publication was rejected: no subscriber will receive it.
    mutating func rejected(flow: Int) { self.due = max(0, self.due - self.subscribers[flow]) }

    /// Counts a delivery.
    /// - Returns: whether the stamp belongs to this run.
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

    /// Writes off all due deliveries, after nothing arrived for some time: the transient events were conflated or lost.
    mutating func writeOff(now: UInt64) {
        self.writtenOff += self.due
        self.due = 0
        self.dueSince = now
    }

    mutating func subscriberClosed(flow: Int) { self.subscribers[flow] = max(0, self.subscribers[flow] - 1) }
}
