/// An event of the hub itself. It has no version; its `id:`, if it has one, is the stream's cursor.
///
/// The data of each has a member `type`, as that of other events has, so that a client that does not read `event:` can tell
/// them apart.
public enum ControlEvent: Sendable {
    /// A flow's state. `last`: the flow's latest transient events, at most one of each type.
    case snapshot(FlowRecord, last: [TransientEvent])
    /// The subscriber's position is invalid and a snapshot follows. `from`: the last version that the subscriber was sent, `nil`
    /// if unknown. `to`: the version of the snapshot.
    case resync(FlowID, ResyncReason, from: Version?, to: Version)
    /// The subscriber was sent everything up to this version, or its type filter left it out.
    case caughtUp(FlowID, Version)
    /// The stream is alive.
    case heartbeat(at: Timestamp, DeliveryStatus)
    /// The number of streams that watch the flow.
    case presence(FlowID, count: Int)
    /// The last event of a stream, or of one of its flows. `reconnect`: whether the client should reconnect; `nil` for
    /// ``ClosingReason/allowsReconnect``. `flow`: the flow that ends, if the stream goes on with others.
    case closing(ClosingReason, reconnect: Bool? = nil, flow: FlowID? = nil)

    /// The type, in `event:` and in the data.
    public var type: String {
        switch self {
        case .snapshot: "snapshot"
        case .resync: "resync"
        case .caughtUp: "caught_up"
        case .heartbeat: "heartbeat"
        case .presence: "presence"
        case .closing: "closing"
        }
    }

    /// Encodes the event.
    /// - Parameter cursor: what the line `id:` contains; `nil` for a block without one.
    public func encoded(cursor: Cursor? = nil) -> EncodedEvent { EncodedEvent(self.type, data: self.data, cursor: cursor) }

    private var data: JSONText {
        .object { writer in
            writer.key("type")
            writer.value(self.type)
            self.writeMembers(to: &writer)
        }
    }

    private func writeMembers(to writer: inout JSONWriter) {
        switch self {
        case .snapshot(let record, let last):
            writer.key("flow_id")
            writer.value(record.head.flow.rawValue)
            writer.key("version")
            writer.value(record.version)
            writer.key("state")
            writer.raw(record.state)
            writer.key("status")
            writer.value(record.head.status.rawValue)
            writer.key("last")
            writer.beginObject()
            for event in last {
                writer.key(event.type.rawValue)
                writer.raw(event.envelope(of: record.head.flow))
            }
            writer.endObject()
        case .resync(let flow, let reason, let from, let to):
            writer.key("flow_id")
            writer.value(flow.rawValue)
            writer.key("reason")
            writer.value(reason.rawValue)
            writer.key("from")
            if let from { writer.value(from) } else { writer.null() }
            writer.key("to")
            writer.value(to)
        case .caughtUp(let flow, let version):
            writer.key("flow_id")
            writer.value(flow.rawValue)
            writer.key("version")
            writer.value(version)
        case .heartbeat(let time, let delivery):
            writer.key("time")
            writer.value(time.description)
            writer.key("delivery")
            writer.value(delivery.rawValue)
        case .presence(let flow, let count):
            writer.key("flow_id")
            writer.value(flow.rawValue)
            writer.key("count")
            writer.value(count)
        case .closing(let reason, let reconnect, let flow):
            writer.key("reason")
            writer.value(reason.rawValue)
            writer.key("reconnect")
            writer.value(reconnect ?? reason.allowsReconnect)
            if let flow {
                writer.key("flow_id")
                writer.value(flow.rawValue)
            }
        }
    }
}
