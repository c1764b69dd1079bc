/// The identifier of a flow: 1 to 128 bytes of `A-Za-z0-9_.:-`, but not `.` or `..`.
///
/// The initializer checks the characters, so an id can be used in keys, paths, log lines and frames without escaping.
public struct FlowID: Hashable, Sendable, Comparable, CustomStringConvertible {
    /// Maximum length, in bytes.
    public static let maximumLength = 128

    public let rawValue: String

    /// Creates an id from text.
    /// - Returns: `nil` if the text is not a valid id.
    public init?(_ text: some StringProtocol) {
        guard Identifier.isValid(text.utf8, maximumLength: Self.maximumLength) else { return nil }
        self.rawValue = String(text)
    }

    public static func < (left: FlowID, right: FlowID) -> Bool { left.rawValue < right.rawValue }

    public var description: String { self.rawValue }
}

/// The type of an event: 1 to 64 bytes of `A-Za-z0-9_.:-`, but not `.` or `..`.
public struct EventType: Hashable, Sendable, CustomStringConvertible {
    /// Maximum length, in bytes.
    public static let maximumLength = 64

    /// The type of the event of a patch or replace.
    public static let stateUpdate = EventType(reserved: "state_update")
    /// The type of the event of a delete.
    public static let flowDeleted = EventType(reserved: "flow_deleted")

    public let rawValue: String

    /// Creates a type from text.
    /// - Returns: `nil` if the text is not a valid type. Reserved types are valid; see ``isReserved``.
    public init?(_ text: some StringProtocol) {
        guard Identifier.isValid(text.utf8, maximumLength: Self.maximumLength) else { return nil }
        self.rawValue = String(text)
    }

    private init(reserved: String) { self.rawValue = reserved }

    /// Whether only the hub itself may publish events of this type. `error`, `open` and `message` are reserved because a
    /// browser's `EventSource` uses these names for events of its own, the types of import events because a subscriber
    /// trusts that the import exists.
    public var isReserved: Bool { Self.reserved.contains(self.rawValue) }

    static let reserved: Set<String> = [
        "snapshot", "resync", "caught_up", "heartbeat", "closing", "presence", "state_update", "flow_deleted",
        "flow", "flows", "error", "open", "message", "import_progress", "import_stored", "import_failed",
    ]

    public var description: String { self.rawValue }
}

/// The allow-list of characters for all identifiers of the hub.
public enum Identifier {
    /// Whether there are 1 to `maximumLength` bytes, each of `A-Za-z0-9_.:-`, and the whole is neither `.` nor `..`.
    public static func isValid(_ bytes: some Collection<UInt8>, maximumLength: Int) -> Bool {
        var count = 0
        var onlyDots = true
        for byte in bytes {
            count += 1
            switch byte {
            case UInt8(ascii: "."):
                break
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), UInt8(ascii: ":"), UInt8(ascii: "-"):
                onlyDots = false
            default:
                return false
            }
            if count > maximumLength { return false }
        }
        return count > 0 && !(onlyDots && count <= 2)
    }
}
