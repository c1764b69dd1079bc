/// One line of an archive file of flows (NDJSON): a flow, one event of a flow, a revocation of tokens, a reply to an idempotency
/// key, or the last fencing token. A flow's events follow its line.
public enum ArchiveLine: Hashable, Sendable {
    /// A flow. Its events, if any, are the next lines.
    case flow(ArchivedFlow)
    /// A durable event of a flow.
    case event(FlowEvent, of: FlowID)
    /// A revocation of a subject's tokens.
    case revocation(Revocation)
    /// A stored reply to the idempotency key of a change.
    case reply(ArchivedReply)
    /// A fencing token above all that the store has issued.
    case fencing(Int64)

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
        case .revocation(let revocation):
            return .object { writer in
                writer.key("revoked_subject")
                writer.value(revocation.subject)
                writer.key("client_account_id")
                writer.value(revocation.account)
                writer.key("not_before")
                writer.value(revocation.notBefore)
            }
        case .fencing(let token):
            return .object { writer in
                writer.key("fencing_token")
                writer.value(token)
            }
        case .reply(let reply):
            return .object { writer in
                writer.key("idempotency_key")
                writer.value(reply.key)
                writer.key("client_account_id")
                writer.value(reply.account)
                writer.key("fingerprint")
                writer.value(reply.fingerprint)
                writer.key("reply_status")
                writer.value(reply.status)
                writer.key("flow_id")
                writer.value(reply.flow)
                writer.key("versions")
                writer.value(reply.versions)
                writer.key("created_at")
                writer.value(reply.createdAt.milliseconds)
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
        if let key = json.member("idempotency_key")?.stringValue {
            self = .reply(try Self.reply(key, json))
            return
        }
        if let fencing = json.member("fencing_token") {
            // The highest value leaves room for the margins by which stores advance the sequence.
            guard let token = fencing.intValue, (0...(Int64.max >> 1)).contains(token) else {
                throw Malformed(description: "a line with fencing_token must have a whole number of 0 to 2^62")
            }
            self = .fencing(token)
            return
        }
        if let subject = json.member("revoked_subject")?.stringValue {
            guard let account = json.member("client_account_id")?.stringValue, let time = json.member("not_before")?.intValue
            else {
                throw Malformed(
                    description: "a revocation line must have valid members revoked_subject, client_account_id and not_before")
            }
            self = .revocation(Revocation(account: account, subject: subject, notBefore: time))
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

    /// Parses the line of a reply.
    private static func reply(_ key: String, _ json: JSONText) throws(Malformed) -> ArchivedReply {
        guard let account = json.member("client_account_id")?.stringValue,
            let fingerprint = json.member("fingerprint")?.stringValue, let status = json.member("reply_status")?.intValue,
            let flow = json.member("flow_id")?.stringValue, FlowID(flow) != nil,
            let versions = json.member("versions")?.stringValue,
            versions.split(separator: ",").allSatisfy({ Version($0) != nil }), let time = json.member("created_at")?.intValue
        else {
            throw Malformed(
                description: "a reply line must have valid members idempotency_key, client_account_id, fingerprint, "
                    + "reply_status, flow_id, versions and created_at (milliseconds)")
        }
        return ArchivedReply(
            account: account, key: key, fingerprint: fingerprint, status: status, flow: flow, versions: versions,
            createdAt: Timestamp(milliseconds: time))
    }
}
