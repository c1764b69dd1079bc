import FlowCore

/// An event that was not yet sent to all live subscribers.
struct LiveLogEntry {
    let frame: Frame
    /// The only account whose subscribers get the event. Set if the flow has no owner yet, else `nil`.
    let account: String?
    /// Number of the newest transient event up to this entry. A subscriber that was sent this entry was also sent that
    /// event.
    let transients: UInt64
}

/// Consecutive frames of a live log in one block, shared by all subscribers at the same position.
struct CoalescedFrames {
    /// Live log position of the first frame.
    let start: Int
    /// Live log position after the last frame.
    let end: Int
    let block: StreamBlock
    /// Lowest and highest version of the durable events in the block; `nil` without durable events.
    let versions: ClosedRange<Version>?
    /// Whether the versions ascend without gaps.
    let isContiguous: Bool
    /// ``LiveLogEntry/transients`` of the last frame.
    let transients: UInt64
    /// Whether more frames follow, which would exceed the size of one write.
    let isFull: Bool
}

/// The events of a fan-out that at least one live subscriber was not sent yet.
///
/// The live log position of an entry is the number of entries that were appended before it, dropped ones included.
struct LiveLog {
    private var entries: [LiveLogEntry] = []
    /// Live log position of the first entry.
    private(set) var start = 0
    /// Live log position below which entries may be for one account only, because they arrived before the flow had an owner.
    private(set) var restrictedEnd = 0
    /// The latest result of ``coalesced(from:form:maximumBytes:)`` for each form, for subscribers at the same position.
    private var coalesced = PerForm<CoalescedFrames>()

    /// Live log position after the newest entry.
    var end: Int { self.start + self.entries.count }
    var count: Int { self.entries.count }

    subscript(position: Int) -> LiveLogEntry { self.entries[position - self.start] }

    mutating func append(_ entry: LiveLogEntry) {
        self.entries.append(entry)
        if entry.account != nil { self.restrictedEnd = self.end }
    }

    /// Counts an event that no subscriber needs, without keeping it. The log must be empty.
    mutating func skip() { self.start += 1 }

    /// Drops all entries.
    mutating func removeAll() {
        self.start += self.entries.count
        self.entries.removeAll(keepingCapacity: self.entries.capacity <= 1_024)
        self.coalesced = PerForm()
    }

    /// Drops the entries below a position.
    mutating func removeAll(below position: Int) {
        self.entries.removeFirst(position - self.start)
        self.start = position
    }

    /// From now on all entries are for subscribers of all accounts.
    mutating func liftRestrictions() { self.restrictedEnd = 0 }

    /// The entries from a position on in one block: at least one, and further ones up to a size.
    mutating func coalesced(from position: Int, form: BlockForm, maximumBytes: Int) -> CoalescedFrames {
        if let known = self.coalesced[form], known.start == position, known.end == self.end || known.isFull { return known }
        let first = position - self.start
        var last = first
        var bytes = 0
        var versions: ClosedRange<Version>?
        var isContiguous = true
        while last < self.entries.count {
            let frame = self.entries[last].frame
            bytes += frame.size
            if bytes > maximumBytes, last > first { break }
            last += 1
            guard frame.isDurable else { continue }
            if let before = versions {
                if frame.version != before.upperBound + 1 { isContiguous = false }
                versions = min(before.lowerBound, frame.version)...max(before.upperBound, frame.version)
            } else {
                versions = frame.version...frame.version
            }
        }
        let frames = CoalescedFrames(
            start: position, end: self.start + last,
            block: StreamEncoder.block(of: self.entries[first..<last].lazy.map(\.frame), form: form), versions: versions,
            isContiguous: isContiguous, transients: self.entries[last - 1].transients, isFull: last < self.entries.count)
        self.coalesced[form] = frames
        return frames
    }
}
