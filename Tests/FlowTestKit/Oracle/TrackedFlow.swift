import FlowCore

/// Where a subscriber stands in one flow, as its stream told it.
struct TrackedFlow {
    let flow: String
    /// The version up to which it knows the flow; `nil` while it has no place.
    var version: Version?
    /// The state that it made of what it saw; `nil` if it saw only a part.
    var state: JSONText?
    /// The version of ``state``.
    var stateVersion: Version?

    /// It said that it wants no snapshot, and takes whatever place it is given.
    var adoptsPosition = false
    /// The reason that it must be told before anything else.
    var expectedResync: ResyncReason?
    /// Told, and its snapshot has not come yet.
    var announcedResync: ResyncReason?
    /// Its cursor stopped naming a place here: a notice must follow.
    var withdrawnAt: Version?
    var isCaughtUp = false
    var hasEnded = false
    /// The highest version seen in each epoch.
    var highest: [Epoch: Version] = [:]
    /// The number of the last transient event of each type that this connection brought.
    var lastTransients: [String: Int] = [:]

    init(flow: String) { self.flow = flow }

    /// A connection begins.
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

    /// The next event. Its state follows if it was known up to here.
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
