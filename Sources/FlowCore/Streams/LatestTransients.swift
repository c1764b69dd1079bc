/// Limits of the latest transient events that are kept for one flow. Events beyond the limits are still delivered live, but
/// are not sent in later snapshots.
public struct TransientLimits: Hashable, Sendable {
    /// Maximum size of one event's data, in bytes (`FLOWHUB_MAX_KEPT_TRANSIENT_BYTES`).
    public var eventBytes = 65_536
    /// Maximum total size of the events' data, in bytes (`FLOWHUB_MAX_KEPT_TRANSIENT_BYTES_PER_FLOW`). The events published
    /// least recently are dropped first.
    public var flowBytes = 262_144
    /// Maximum number of event types (`FLOWHUB_MAX_KEPT_TRANSIENT_TYPES`). The type published least recently is dropped
    /// first.
    public var types = 32

    public init() {}
}

/// The latest transient event of each type of a flow, in order of publication, within ``TransientLimits``.
///
/// A snapshot sends these events as `last`, so that a new subscriber sees the current progress without waiting for the
/// next event. Events published while the flow was below its reset version are void; ``removeAll(below:)`` drops them.
public struct LatestTransients<Attachment: Sendable>: Sendable {
    public struct Entry: Sendable {
        public var event: TransientEvent
        /// The flow's version when the event was published.
        public var version: Version
        /// Additional data of the owner of the collection, such as the encoded frame.
        public var attachment: Attachment
    }

    public private(set) var entries: [Entry] = []
    /// Total size of the events' data, in bytes.
    public private(set) var bytes = 0

    public init() {}

    /// Inserts an event in place of the earlier one of its type. An event that alone exceeds the limits is not kept. The
    /// earlier one is removed nevertheless, because it is no longer the latest.
    public mutating func insert(_ event: TransientEvent, at version: Version, _ attachment: Attachment, limits: TransientLimits) {
        if let index = self.entries.firstIndex(where: { $0.event.type == event.type }) { self.remove(index) }
        let size = event.data.bytes.count
        guard size <= min(limits.eventBytes, limits.flowBytes) else { return }
        while !self.entries.isEmpty, self.entries.count >= limits.types || self.bytes + size > limits.flowBytes { self.remove(0) }
        self.entries.append(Entry(event: event, version: version, attachment: attachment))
        self.bytes += size
    }

    /// Removes the events that were published while the flow was below `version`.
    public mutating func removeAll(below version: Version) {
        guard self.entries.contains(where: { $0.version < version }) else { return }
        self.entries.removeAll { $0.version < version }
        self.bytes = self.entries.reduce(0) { $0 + $1.event.data.bytes.count }
    }

    /// Removes the entry at this index of ``entries``.
    private mutating func remove(_ index: Int) { self.bytes -= self.entries.remove(at: index).event.data.bytes.count }
}
