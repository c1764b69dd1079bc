import FlowCore

/// A subscriber's position and state in one flow, according to its stream.
struct TrackedFlow {
    let flow: String
    /// The subscriber's position; `nil` while it has none.
    var version: Version?
    /// The state that results from the received events; `nil` if state changes are missing.
    var state: JSONText?
    /// The version of ``state``.
    var stateVersion: Version?

    /// The epoch of the flow's last id on this connection, before the first one that of its cursor. Only of a target whose flows
    /// have their own cursors.
    var epoch: Epoch?
    /// Whether the subscriber requested no snapshot and adopts the first position that the hub sends.
    var adoptsPosition = false
    /// The reason of the resync that must come before anything else; `nil` if none is due.
    var expectedResync: ResyncReason?
    /// The reason of a received resync whose snapshot has not arrived yet.
    var announcedResync: ResyncReason?
    /// The position that ids of the stream no longer contain: a resync must follow.
    var withdrawnAt: Version?
    var isCaughtUp = false
    var hasEnded = false
    /// The highest version seen in each epoch.
    var highest: [Epoch: Version] = [:]
    /// The journal index of the last transient event of each type on this connection.
    var lastTransients: [String: Int] = [:]

    init(flow: String) { self.flow = flow }

    /// Resets the flow for a new connection whose cursor has this version.
    mutating func startConnection(at version: Version?, journal: FlowJournal) {
        self.version = version
        self.adoptsPosition = false
        self.expectedResync = nil
        self.announcedResync = nil
        self.withdrawnAt = nil
        self.isCaughtUp = false
        self.hasEnded = false
        self.lastTransients = [:]
        if let version, version != self.stateVersion {
            self.state = journal.snapshot(at: version)?.state
            self.stateVersion = self.state == nil ? nil : version
        }
    }

    mutating func adopt(_ version: Version) {
        self.version = version
        self.adoptsPosition = false
        self.state = nil
        self.stateVersion = nil
    }

    /// Applies the next event. The state is kept only if it is known up to the previous version.
    mutating func apply(_ entry: FlowJournal.Entry, version: Version) {
        if let state = self.state, self.stateVersion == version - 1 {
            switch entry.type {
            case "state_update":
                let updates = entry.payload.member("updates") ?? .emptyObject
                let replaces = entry.payload.member("replace")?.boolValue == true
                self.state = replaces ? updates : state.applying(mergePatch: updates)
            case "flow_deleted": self.state = .emptyObject
            default: break
            }
            self.stateVersion = version
        } else {
            self.state = nil
            self.stateVersion = nil
        }
        self.version = version
    }
}
