/// All open streams of an event loop, in wheel slots: one slot for each second of the heartbeat interval. In each second only
/// the streams of one slot are sent a heartbeat, which spreads the heartbeats over the interval.
struct HeartbeatWheel {
    private var slots: [[EventStream]]
    /// The wheel slot of the current second.
    private var next = 0
    /// The wheel slot that was given to the newest stream.
    private var fill = 0

    /// - Parameter slots: the heartbeat interval in seconds; one wheel slot per second.
    init(slots: Int) {
        self.slots = Array(repeating: [], count: Swift.max(1, slots))
    }

    /// Adds a stream to the wheel slot after the one that the previous stream was added to.
    mutating func insert(_ stream: EventStream) {
        self.fill = (self.fill + 1) % self.slots.count
        stream.wheelSlot = self.fill
        stream.wheelIndex = self.slots[self.fill].count
        self.slots[self.fill].append(stream)
    }

    /// Removes a stream. Does nothing if it is not on the wheel.
    mutating func remove(_ stream: EventStream) {
        guard stream.wheelSlot >= 0, let last = self.slots[stream.wheelSlot].popLast() else { return }
        if last !== stream {
            self.slots[stream.wheelSlot][stream.wheelIndex] = last
            last.wheelIndex = stream.wheelIndex
        }
        stream.wheelSlot = -1
    }

    /// Advances to the next wheel slot.
    /// - Returns: the streams that are due a heartbeat in this second.
    mutating func advance() -> [EventStream] {
        self.next = (self.next + 1) % self.slots.count
        return self.slots[self.next]
    }
}

/// All open streams of the event loop. The wheel may change during an iteration, which visits the streams that were on it at
/// the start.
extension HeartbeatWheel: Sequence {
    func makeIterator() -> FlattenSequence<[[EventStream]]>.Iterator { self.slots.joined().makeIterator() }
}
