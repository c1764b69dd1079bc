import DequeModule

/// A foreign update: a foreign event that contains a merge patch of its flow's state.
public struct ForeignUpdate: Sendable {
    public var flow: FlowID
    /// The merge patch.
    public var patch: JSONText
    /// A digest of the message.
    public var digest: String
    /// The identity of the publication, equal on all instances that heard it. Two publications have different ones, even if
    /// their messages are equal.
    public var identity: String

    public init(flow: FlowID, patch: JSONText, digest: String, identity: String) {
        self.flow = flow
        self.patch = patch
        self.digest = digest
        self.identity = identity
    }
}

/// The foreign updates that an instance has heard recently, in the order of their publication. A value type without I/O.
struct RecentForeignUpdates: Sendable {
    struct Entry: Sendable {
        let update: ForeignUpdate
        let heardAt: ContinuousClock.Instant
        /// Whether another instance that applies updates was seen after this instance heard the update: that one heard it too.
        var isOfOthers = false
        /// Whether an instance of an earlier release may have applied the update.
        var mayBeOfEarlierRelease = false
        /// Whether this instance has applied the update, or found that it cannot be applied.
        var isDone = false

        /// Estimated bytes in memory.
        var bytes: Int { self.update.patch.bytes.count + 512 }
    }

    private var entries = Deque<Entry>()
    /// Number of the first entry, counted from 0 over all entries ever appended.
    private(set) var firstNumber = 0
    private(set) var bytes = 0

    var isEmpty: Bool { self.entries.isEmpty }
    /// Number after that of the last entry.
    var endNumber: Int { self.firstNumber + self.entries.count }
    /// The oldest entry.
    var first: Entry? { self.entries.first }

    /// The entry with a number; `nil` if it was removed.
    subscript(number: Int) -> Entry? {
        guard number >= self.firstNumber, number < self.endNumber else { return nil }
        return self.entries[number - self.firstNumber]
    }

    /// Appends an entry.
    /// - Returns: its number.
    @discardableResult
    mutating func append(_ entry: Entry) -> Int {
        self.entries.append(entry)
        self.bytes += entry.bytes
        return self.endNumber - 1
    }

    /// Changes all entries.
    mutating func changeAll(_ change: (inout Entry) -> Void) {
        for index in self.entries.indices { change(&self.entries[index]) }
    }

    /// Marks an entry as done, unless it was removed.
    mutating func finish(_ number: Int) {
        guard number >= self.firstNumber, number < self.endNumber else { return }
        self.entries[number - self.firstNumber].isDone = true
    }

    /// Removes the oldest entry.
    mutating func removeFirst() {
        guard let first = self.entries.popFirst() else { return }
        self.bytes -= first.bytes
        self.firstNumber += 1
    }
}
