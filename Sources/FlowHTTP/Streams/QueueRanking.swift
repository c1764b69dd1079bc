/// The streams of an event loop that have queued bytes, as a binary heap: finding the one with the most costs nothing, and a
/// change of a stream's queued bytes costs the logarithm of their number. So shedding many streams under memory pressure does
/// not search all streams for each of them.
struct QueueRanking {
    struct Entry {
        let stream: EventStream
        /// The stream's queued bytes; above 0.
        var bytes: Int
    }

    /// The children of the entry at index `i` are at `2 * i + 1` and `2 * i + 2`, and do not have more bytes than it.
    private var entries: [Entry] = []

    /// The stream with the most queued bytes; `nil` if no stream has any.
    var largest: Entry? { self.entries.first }

    /// Sets the queued bytes of a stream. 0 removes it.
    mutating func set(_ bytes: Int, for stream: EventStream) {
        let index = stream.rankingIndex
        if bytes <= 0 {
            self.remove(stream)
        } else if index < 0 {
            self.entries.append(Entry(stream: stream, bytes: bytes))
            self.rise(from: self.entries.count - 1)
        } else {
            self.entries[index].bytes = bytes
            self.settle(at: index)
        }
    }

    private mutating func remove(_ stream: EventStream) {
        let index = stream.rankingIndex
        guard index >= 0, let last = self.entries.popLast() else { return }
        stream.rankingIndex = -1
        guard index < self.entries.count else { return }
        self.entries[index] = last
        self.settle(at: index)
    }

    /// Restores the order after the entry at an index has changed.
    private mutating func settle(at index: Int) {
        self.sink(from: index)
        self.rise(from: index)
    }

    /// Moves an entry towards the root until its parent has at least as many bytes.
    private mutating func rise(from index: Int) {
        var index = index
        while index > 0, self.entries[(index - 1) / 2].bytes < self.entries[index].bytes {
            self.swap(index, (index - 1) / 2)
            index = (index - 1) / 2
        }
        self.entries[index].stream.rankingIndex = index
    }

    /// Moves an entry away from the root until neither child has more bytes.
    private mutating func sink(from index: Int) {
        var index = index
        while true {
            let children = (2 * index + 1..<2 * index + 3).clamped(to: 0..<self.entries.count)
            guard let child = children.max(by: { self.entries[$0].bytes < self.entries[$1].bytes }),
                self.entries[child].bytes > self.entries[index].bytes
            else { break }
            self.swap(index, child)
            index = child
        }
        self.entries[index].stream.rankingIndex = index
    }

    private mutating func swap(_ index: Int, _ other: Int) {
        self.entries.swapAt(index, other)
        self.entries[index].stream.rankingIndex = index
        self.entries[other].stream.rankingIndex = other
    }
}
