/// Which deliveries are still due, which came, and which will not come any more. Pure: it is told what happens.
struct DeliveryTracker: Hashable, Sendable {
    /// Living subscribers of each flow.
    private(set) var subscribers: [Int]
    /// Deliveries that should still come.
    private(set) var due = 0
    /// Deliveries that were given up and have not come late.
    private(set) var writtenOff = 0
    /// All that came, warm-up included.
    private(set) var delivered: UInt64 = 0

    /// Stamps below this are of another run, or were written off.
    private var start: UInt64
    private var dueSince: UInt64

    init(flows: Int, subscribers: Int, start: UInt64) {
        self.subscribers = (0..<flows).map { subscribers / flows + ($0 < subscribers % flows ? 1 : 0) }
        self.start = start
        self.dueSince = start
    }

    /// How many deliveries one publication makes on average: the unit of the window.
    var perPublication: Int { max(1, self.subscribers.reduce(0, +) / self.subscribers.count) }

    /// Whether a closed loop of this many publications has room for another.
    func hasRoom(window: Int) -> Bool { self.due <= (window - 1) * self.perPublication }

    mutating func published(flow: Int) { self.due += self.subscribers[flow] }

    /// A publication was refused: nobody will see it.
    mutating func refused(flow: Int) { self.due = max(0, self.due - self.subscribers[flow]) }

    /// - Returns: whether it belongs to this run.
    mutating func came(stamp: UInt64) -> Bool {
        guard stamp >= self.start else { return false }
        self.delivered += 1
        if stamp >= self.dueSince {
            self.due = max(0, self.due - 1)
        } else {
            self.writtenOff = max(0, self.writtenOff - 1)
        }
        return true
    }

    /// Nothing has come for so long that nothing will: the rest of a transient event that was conflated, or lost.
    mutating func writeOff(now: UInt64) {
        self.writtenOff += self.due
        self.due = 0
        self.dueSince = now
    }

    mutating func subscriberClosed(flow: Int) { self.subscribers[flow] = max(0, self.subscribers[flow] - 1) }
}
