/// How much is kept of the latest transient events of one flow. What is beyond is told to whoever listens, and to nobody later.
public struct TransientLimits: Hashable, Sendable {
    /// `FLOWHUB_MAX_KEPT_TRANSIENT_BYTES`: of one event's data.
    public var eventBytes = 65_536
    /// `FLOWHUB_MAX_KEPT_TRANSIENT_BYTES_PER_FLOW`: of the data of all of them; the oldest go first.
    public var flowBytes = 262_144
    /// `FLOWHUB_MAX_KEPT_TRANSIENT_TYPES`: types of one flow; the one told longest ago goes first.
    public var types = 32

    public init() {}
}

/// The latest transient event of each type of a flow, in the order of their publication.
public struct LatestTransients<Note: Sendable>: Sendable {
    public struct Entry: Sendable {
        public var event: TransientEvent
        /// The flow's version when it was published.
        public var version: Version
        /// What the keeper wants to know of it.
        public var note: Note
    }

    public private(set) var entries: [Entry] = []
    /// Of the events' data.
    public private(set) var bytes = 0

    public init() {}

    /// Takes the place of the one of its type, also if it is too large to be kept: that one is not the latest any more.
    public mutating func keep(_ event: TransientEvent, at version: Version, _ note: Note, limits: TransientLimits) {
        if let known = self.entries.firstIndex(where: { $0.event.type == event.type }) { self.remove(known) }
        let size = event.data.bytes.count
        guard size <= min(limits.eventBytes, limits.flowBytes) else { return }
        while !self.entries.isEmpty, self.entries.count >= limits.types || self.bytes + size > limits.flowBytes { self.remove(0) }
        self.entries.append(Entry(event: event, version: version, note: note))
        self.bytes += size
    }

    /// Forgets what was published below a version.
    public mutating func removeAll(below version: Version) {
        guard self.entries.contains(where: { $0.version < version }) else { return }
        self.entries.removeAll { $0.version < version }
        self.bytes = self.entries.reduce(0) { $0 + $1.event.data.bytes.count }
    }

    private mutating func remove(_ position: Int) { self.bytes -= self.entries.remove(at: position).event.data.bytes.count }
}
