public import FlowCore

/// The complete durable history of a flow as its publisher knows it. An oracle for the store, whose own history is pruned.
public struct FlowJournal: Sendable {
    public struct Entry: Sendable {
        public var type: String
        /// The event's specific members: `data`, or `updates` and `replace`.
        public var payload: JSONText

        public init(type: String, payload: JSONText) {
            self.type = type
            self.payload = payload
        }

        public static func event(_ type: String, _ data: JSONText) -> Entry {
            Entry(
                type: type,
                payload: .object {
                    $0.key("data"); $0.raw(data)
                })
        }

        public static func update(_ updates: JSONText, replaces: Bool = false) -> Entry {
            let payload = JSONText.object { writer in
                writer.key("updates")
                writer.raw(updates)
                if replaces {
                    writer.key("replace")
                    writer.value(true)
                }
            }
            return Entry(type: "state_update", payload: payload)
        }

        public static let deletion = Entry(type: "flow_deleted", payload: .emptyObject)

        /// Creates an entry from an event in the format of streams and of history.
        public init(envelope: JSONText) {
            let common = ["type", "flow_id", "version", "timestamp"]
            self.type = envelope.member("type")?.stringValue ?? ""
            self.payload = .object { writer in
                for (key, value) in envelope.members where !common.contains(key) {
                    writer.key(key)
                    writer.raw(value)
                }
            }
        }

        public func isEquivalent(to other: Entry) -> Bool {
            self.type == other.type && self.payload.isEquivalent(to: other.payload)
        }
    }

    /// The flow at one version.
    public struct Snapshot: Sendable {
        public var state = JSONText.emptyObject
        public var status = "active"
        public var exists = false
        /// The version at which the flow last ended, was replaced, or was deleted.
        public var resetVersion: Version = 0

        public init() {}

        public var isTerminal: Bool { ["completed", "failed", "cancelled", "deleted"].contains(self.status) }

        /// The snapshot after the next event.
        public func after(_ entry: Entry, version: Version) -> Snapshot {
            var next = self
            switch entry.type {
            case "state_update":
                let updates = entry.payload.member("updates") ?? .emptyObject
                let replaces = entry.payload.member("replace")?.boolValue == true
                let base = self.exists ? self.state : .emptyObject
                next.state = replaces ? updates : base.applying(mergePatch: updates)
                next.status = FlowStatus(of: next.state).rawValue
                next.exists = true
                if replaces || (next.isTerminal && !(self.exists && self.isTerminal)) { next.resetVersion = version }
            case "flow_deleted":
                next = Snapshot()
                next.status = "deleted"
                next.resetVersion = version
            default:
                if !self.exists {
                    next.state = .emptyObject
                    next.status = "active"
                    next.exists = true
                }
            }
            return next
        }
    }

    /// A transient event, and the version at which it was sent.
    public struct Transient: Sendable {
        public var type: String
        public var data: JSONText
        public var sentAt: Version
    }

    public let flow: String
    private var entries: [Entry] = []
    private var snapshots = [Snapshot()]
    /// Transient events in the order of sending. Their data must differ, since it identifies them.
    public private(set) var transients: [Transient] = []

    public init(flow: String) { self.flow = flow }

    /// Creates a journal from a complete history.
    public init(flow: String, envelopes: [JSONText]) {
        self.flow = flow
        for envelope in envelopes { self.append(Entry(envelope: envelope)) }
    }

    public var version: Version { Version(self.entries.count) }
    public var now: Snapshot { self.snapshots[self.snapshots.count - 1] }

    public func entry(_ version: Version) -> Entry? {
        (1...self.version + 1).contains(version) && version <= self.version ? self.entries[Int(version - 1)] : nil
    }

    public func snapshot(at version: Version) -> Snapshot? {
        (0...self.version).contains(version) ? self.snapshots[Int(version)] : nil
    }

    public mutating func append(_ entry: Entry) {
        self.entries.append(entry)
        self.snapshots.append(self.now.after(entry, version: self.version))
    }

    public mutating func appendTransient(_ type: String, _ data: JSONText) {
        self.transients.append(Transient(type: type, data: data, sentAt: self.version))
    }
}
