import FlowCore

/// Tracks which of the watched flows have ended, from the events of their stream.
struct FlowEndings: Hashable, Sendable {
    /// The watched flows, in the order of the command line.
    let flows: [FlowID]

    /// The most recent known status of each flow.
    private(set) var statuses: [FlowID: FlowStatus] = [:]

    /// For each flow that the hub closed with `reconnect: false`: the reason in the event `closing`.
    private(set) var closed: [FlowID: String] = [:]

    init(_ flows: [FlowID]) { self.flows = flows }

    /// Whether each flow's status is known to be terminal.
    var allFinished: Bool { self.flows.allSatisfy { self.statuses[$0]?.isTerminal == true } }

    /// Whether the hub closed every flow with `reconnect: false`.
    var allClosed: Bool { self.flows.allSatisfy { self.closed[$0] != nil } }

    /// Whether a flow was closed because the token expired or was revoked. Reconnecting needs a new token.
    var lostAccess: Bool { self.closed.values.contains { $0 == "revoked" || $0 == "expired" } }

    /// Sets the known status of a flow.
    mutating func set(_ status: FlowStatus, of flow: FlowID) { self.statuses[flow] = status }

    /// Updates statuses and closed flows from one event of the stream. `type`: the event type, `data`: the event's JSON.
    mutating func read(_ type: String, _ data: JSONText) {
        let named = data.member("flow_id")?.stringValue.flatMap { FlowID($0) }
        switch type {
        case "snapshot":
            guard let flow = named, let status = data.member("status")?.stringValue else { return }
            self.set(FlowStatus(stored: status), of: flow)
        case "state_update":
            guard let flow = named, let updates = data.member("updates") else { return }
            // A patch without `status` keeps the status; a replaced state without it is `active`.
            if data.member("replace")?.boolValue == true || updates.member("status") != nil {
                self.set(FlowStatus(of: updates), of: flow)
            }
        case "flow_deleted":
            if let flow = named { self.set(.deleted, of: flow) }
        case "closing":
            guard data.member("reconnect")?.boolValue == false else { return }
            let reason = data.member("reason")?.stringValue ?? ""
            for flow in named.map({ [$0] }) ?? self.flows where self.closed[flow] == nil { self.closed[flow] = reason }
        default:
            break
        }
    }
}
