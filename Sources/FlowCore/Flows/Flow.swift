/// What a flow is doing, as its state's `status` member says it.
public struct FlowStatus: Hashable, Sendable, CustomStringConvertible {
    /// A flow whose state has no readable `status`.
    public static let active = FlowStatus(unchecked: "active")
    /// A flow that was deleted. Only a tombstone has this status: a state that claims it is refused.
    public static let deleted = FlowStatus(unchecked: "deleted")

    public static let maximumLength = 64

    public let rawValue: String

    private init(unchecked: String) { self.rawValue = unchecked }

    /// For the stores: a status that ``init(of:)`` made before.
    public init(stored: String) { self.rawValue = stored }

    /// The status that a state declares. A missing, overlong or non-string member, or one with control characters, counts as
    /// `active`, since the state is the publisher's own and the hub needs only to know whether the flow has ended.
    public init(of state: JSONText) {
        guard let text = state.member("status")?.stringValue, (1...Self.maximumLength).contains(text.utf8.count),
            text.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7f })
        else {
            self = .active
            return
        }
        self.rawValue = text
    }

    /// Whether the flow has ended: nothing more is expected, and its streams end too.
    public var isTerminal: Bool {
        switch self.rawValue {
        case "completed", "failed", "cancelled", "deleted": true
        default: false
        }
    }

    public var description: String { self.rawValue }
}

/// A flow without its state: what a list, a sweep and a page of events need to know of it.
public struct FlowHead: Hashable, Sendable {
    public var flow: FlowID
    public var account: String
    public var version: Version
    public var status: FlowStatus
    /// The version of the last end, replacement or deletion. Transient events from before it say nothing any more.
    public var resetVersion: Version
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

    /// A tombstone: the flow was deleted, its version lives on.
    public var isDeleted: Bool { self.status == .deleted }
}

/// A flow with its whole state at one version.
public struct FlowRecord: Hashable, Sendable {
    public var head: FlowHead
    /// A JSON object; `{}` for a tombstone.
    public var state: JSONText
    /// The highest fencing token seen for each resource: a JSON object of integers.
    public var fence: JSONText

    public init(head: FlowHead, state: JSONText, fence: JSONText = .emptyObject) {
        self.head = head
        self.state = state
        self.fence = fence
    }

    public var version: Version { self.head.version }
}

/// A durable event as the store keeps it.
public struct FlowEvent: Hashable, Sendable {
    public var version: Version
    public var type: EventType
    /// The members that are this event's own, as one JSON object: `{"data":…}`, `{"updates":{…}}`,
    /// `{"updates":{…},"replace":true}` or `{}`. Frames and history splice them between the common members.
    public var payload: JSONText
    public var createdAt: Timestamp

    public init(version: Version, type: EventType, payload: JSONText, createdAt: Timestamp) {
        self.version = version
        self.type = type
        self.payload = payload
        self.createdAt = createdAt
    }

    /// The event as one JSON object, the same on every way out: stream, history and bus.
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

/// An event that is told to whoever listens now and is not kept: progress ticks and the like.
public struct TransientEvent: Hashable, Sendable {
    public var type: EventType
    public var data: JSONText
    public var createdAt: Timestamp
    /// Published on the bus by a service that is not the hub: nobody knows what version it belongs to, and subscribers are told.
    public var isForeign: Bool

    public init(type: EventType, data: JSONText, createdAt: Timestamp, isForeign: Bool = false) {
        self.type = type
        self.data = data
        self.createdAt = createdAt
        self.isForeign = isForeign
    }

    public func envelope(of flow: FlowID) -> JSONText {
        JSONText.object { writer in
            writer.key("type")
            writer.value(self.type.rawValue)
            writer.key("flow_id")
            writer.value(flow.rawValue)
            writer.key(self.type == .stateUpdate ? "updates" : "data")
            writer.raw(self.data)
            writer.key("timestamp")
            writer.value(self.createdAt.description)
            if self.isForeign {
                writer.key("foreign")
                writer.value(true)
            }
        }
    }
}
