/// All open streams of a loop, spread over the seconds of the heartbeat's interval, so that the heartbeats are too.
struct HeartbeatWheel {
    private var slots: [[EventStream]]
    private var next = 0
    private var fill = 0

    /// - Parameter slots: the interval in seconds.
    init(slots: Int) {
        self.slots = Array(repeating: [], count: max(1, slots))
    }

    var all: [EventStream] { self.slots.flatMap { $0 } }

    mutating func insert(_ stream: EventStream) {
        self.fill = (self.fill + 1) % self.slots.count
        stream.wheelSlot = self.fill
        stream.wheelIndex = self.slots[self.fill].count
        self.slots[self.fill].append(stream)
    }

    mutating func remove(_ stream: EventStream) {
        guard stream.wheelSlot >= 0, let last = self.slots[stream.wheelSlot].popLast() else { return }
        if last !== stream {
            self.slots[stream.wheelSlot][stream.wheelIndex] = last
            last.wheelIndex = stream.wheelIndex
        }
        stream.wheelSlot = -1
    }

    /// The streams whose turn it is this second.
    mutating func advance() -> [EventStream] {
        self.next = (self.next + 1) % self.slots.count
        return self.slots[self.next]
    }
}
