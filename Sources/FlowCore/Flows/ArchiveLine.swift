/// One line of an archive file of flows (NDJSON): a flow, or one event of a flow. A flow's events follow its line.
public enum ArchiveLine: Hashable, Sendable {
    /// A flow. Its events, if any, are the next lines.
    case flow(ArchivedFlow)
    /// A durable event of a flow.
    case event(FlowEvent, of: FlowID)

    /// The reason why a line of an archive is invalid, described for operators.
    public struct Malformed: Error, Hashable, Sendable, CustomStringConvertible {
        public let description: String

        public init(description: String) { self.description = description }
    }

    /// The line as JSON, without its line feed.
    public var json: JSONText {
        switch self {
        case .flow(let flow):
            let head = flow.record.head
            return .object { writer in
                writer.key("flow_id")
                writer.value(head.flow.rawValue)
                writer.key("client_account_id")
                writer.value(head.account)
                writer.key("version")
                writer.value(head.version)
                writer.key("status")
                writer.value(head.status.rawValue)
                writer.key("reset_version")
                writer.value(head.resetVersion)
                writer.key("created_at")
                writer.value(flow.createdAt.milliseconds)
                writer.key("updated_at")
                writer.value(head.updatedAt.milliseconds)
                writer.key("fence")
                writer.raw(flow.record.fence)
                writer.key("state")
                writer.raw(flow.record.state)
            }
        case .event(let event, let flow):
            return .object { writer in
                writer.key("event_of")
                writer.value(flow.rawValue)
                writer.key("version")
                writer.value(event.version)
                writer.key("type")
                writer.value(event.type.rawValue)
                writer.key("created_at")
                writer.value(event.createdAt.milliseconds)
                writer.key("payload")
                writer.raw(event.payload)
            }
        }
    }

    /// Parses and validates a line, which may have been written by hand.
    /// - Throws: ``Malformed`` if a member is missing or invalid, or if the status does not match the state.
    public init(_ json: JSONText) throws(Malformed) {
        if let name = json.member("event_of")?.stringValue {
            guard let flow = FlowID(name), let version = json.member("version")?.intValue, version > 0,
                let type = json.member("type")?.stringValue.flatMap({ EventType($0) }),
                let time = json.member("created_at")?.intValue, let payload = json.member("payload"), payload.isObject
            else {
                throw Malformed(
                    description: "an event line must have valid members event_of, version (1 or more), type, "
                        + "created_at (milliseconds) and payload (an object)")
            }
            self = .event(
                FlowEvent(version: version, type: type, payload: payload, createdAt: Timestamp(milliseconds: time)), of: flow)
            return
        }
        guard let flow = json.member("flow_id")?.stringValue.flatMap({ FlowID($0) }),
            let account = json.member("client_account_id")?.stringValue, let version = json.member("version")?.intValue,
            version > 0,
            let status = json.member("status")?.stringValue, let reset = json.member("reset_version")?.intValue,
            (0...version).contains(reset), let created = json.member("created_at")?.intValue,
            let updated = json.member("updated_at")?.intValue, let state = json.member("state"), state.isObject
        else {
            throw Malformed(
                description: "a flow line must have valid members flow_id, client_account_id, version (1 or more), "
                    + "status, reset_version (0 to version), created_at and updated_at (milliseconds), and state (an object)")
        }
        guard status == FlowStatus.deleted.rawValue ? state == .emptyObject : status == FlowStatus(of: state).rawValue else {
            throw Malformed(description: "the status in the line of flow \(flow) does not match the state in the same line")
        }
        let head = FlowHead(
            flow: flow, account: account, version: version, status: FlowStatus(stored: status), resetVersion: reset,
            updatedAt: Timestamp(milliseconds: updated))
        self = .flow(
            ArchivedFlow(
                record: FlowRecord(head: head, state: state, fence: json.member("fence") ?? .emptyObject),
                createdAt: Timestamp(milliseconds: created)))
    }
}
