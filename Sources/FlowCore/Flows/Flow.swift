/// A flow's status: the string member `status` of its state.
public struct FlowStatus: Hashable, Sendable, CustomStringConvertible {
    /// The status of a flow whose state has no valid `status`.
    public static let active = FlowStatus(unchecked: "active")
    /// The status of a tombstone. A change whose state has it is rejected.
    public static let deleted = FlowStatus(unchecked: "deleted")

    /// Maximum length, in bytes.
    public static let maximumLength = 64

    public let rawValue: String

    private init(unchecked: String) { self.rawValue = unchecked }

    /// Creates a status from the text in a store's row, without validation.
    public init(stored: String) { self.rawValue = stored }

    /// The status in a state. A member that is missing, empty, too long, not a string, or that contains control characters
    /// counts as `active`: the state belongs to the publisher, and the hub only needs to know whether the flow is terminal.
    public init(of state: JSONText) {
        self = state.member("status")?.stringValue.flatMap { Self($0) } ?? .active
    }

    /// - Returns: `nil` if the text is empty, too long or has control characters.
    public init?(_ text: String) {
        guard (1...Self.maximumLength).contains(text.utf8.count), text.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7f }) else {
            return nil
        }
        self.rawValue = text
    }

    /// Whether the flow has ended: no more events are expected, and its streams are closed after `FLOWHUB_LINGER_MS`.
    public var isTerminal: Bool {
        switch self.rawValue {
        case "completed", "failed", "cancelled", "deleted": true
        default: false
        }
    }

    public var description: String { self.rawValue }
}

/// A flow without its state, as lists, the version sweep and history pages use it.
public struct FlowHead: Hashable, Sendable {
    public var flow: FlowID
    public var account: String
    public var version: Version
    public var status: FlowStatus
    /// The version at which the flow last ended, was replaced or was deleted; 0 if never. Transient events that were published
    /// before it are void.
    public var resetVersion: Version
    /// The time of the last change.
    public var updatedAt: Timestamp

    public init(
        flow: FlowID, account: String, version: Version, status: FlowStatus, resetVersion: Version, updatedAt: Timestamp
    ) {
        self.flow = flow
        self.account = account
        self.version = version
        self.status = status
        self.resetVersion = resetVersion
        self.updatedAt = updatedAt
    }

    /// Whether this is a tombstone: the flow was deleted, and only its version is kept.
    public var isDeleted: Bool { self.status == .deleted }
}

/// A stored flow: its head, its state and its fences, as of one version.
public struct FlowRecord: Hashable, Sendable {
    public var head: FlowHead
    /// A JSON object; `{}` for a tombstone.
    public var state: JSONText
    /// The fences: a JSON object with the highest fencing token that the flow has seen for each resource.
    public var fence: JSONText

    public init(head: FlowHead, state: JSONText, fence: JSONText = .emptyObject) {
        self.head = head
        self.state = state
        self.fence = fence
    }

    public var version: Version { self.head.version }
}

/// A durable event, as it is stored.
public struct FlowEvent: Hashable, Sendable {
    public var version: Version
    public var type: EventType
    /// The JSON members that depend on the kind of event, as one object: `{"data":…}`, `{"updates":{…}}`,
    /// `{"updates":{…},"replace":true}` or `{}`. ``envelope(of:)`` inserts them between the members that all events have.
    public var payload: JSONText
    public var createdAt: Timestamp

    public init(version: Version, type: EventType, payload: JSONText, createdAt: Timestamp) {
        self.version = version
        self.type = type
        self.payload = payload
        self.createdAt = createdAt
    }

    /// The event as one JSON object, which is the same in streams, in history responses and on the bus.
    public func envelope(of flow: FlowID) -> JSONText {
        JSONText.object { writer in
            writer.key("type")
            writer.value(self.type.rawValue)
            writer.key("flow_id")
            writer.value(flow.rawValue)
            writer.key("version")
            writer.value(self.version)
            writer.rawMembers(of: self.payload)
            writer.key("timestamp")
            writer.value(self.createdAt.description)
        }
    }
}

/// An event without a version, such as a progress update. It is delivered to live subscribers and absent from history;
/// only the latest one of each type is kept, for snapshots.
public struct TransientEvent: Hashable, Sendable {
    public var type: EventType
    /// The event's JSON member `data`; for a foreign event of type `state_update`, its JSON member `updates`.
    public var data: JSONText
    public var createdAt: Timestamp
    /// Whether this is a foreign event, published on the bus by a process other than a hub instance. The flow's version at its
    /// publication is unknown, and subscribers see `"foreign": true`.
    public var isForeign: Bool
    /// For a foreign event of type `state_update`: the members of its message beside `updates`, as an object; `nil` if there are
    /// none. They are the event's JSON member `data`.
    public var furtherData: JSONText?

    public init(type: EventType, data: JSONText, createdAt: Timestamp, isForeign: Bool = false) {
        self.type = type
        self.data = data
        self.createdAt = createdAt
        self.isForeign = isForeign
    }

    /// The event as one JSON object, which is the same in streams and on the bus.
    public func envelope(of flow: FlowID) -> JSONText {
        JSONText.object { writer in
            writer.key("type")
            writer.value(self.type.rawValue)
            writer.key("flow_id")
            writer.value(flow.rawValue)
            writer.key(self.type == .stateUpdate ? "updates" : "data")
            writer.raw(self.data)
            if let further = self.furtherData {
                writer.key("data")
                writer.raw(further)
            }
            writer.key("timestamp")
            writer.value(self.createdAt.description)
            if self.isForeign {
                writer.key("foreign")
                writer.value(true)
            }
        }
    }
}
