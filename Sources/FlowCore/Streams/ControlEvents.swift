public import NIOCore

/// Why a stream ends, and whether its client should come back.
public enum ClosingReason: String, Hashable, Sendable, CaseIterable {
    case finished, deleted, drain, full, unavailable, expired, revoked

    /// What the stream says by default. A revoked or expired token may be renewed by the client, but not by reconnecting
    /// with the same one.
    public var invitesReconnect: Bool {
        switch self {
        case .drain, .full, .unavailable: true
        case .finished, .deleted, .expired, .revoked: false
        }
    }
}

/// Whether live events reach subscribers at full speed; a heartbeat carries it.
public enum DeliveryStatus: String, Hashable, Sendable {
    /// The bus delivers.
    case ok
    /// The bus is off or blind; the version sweep delivers.
    case degraded
    /// The store cannot be reached: nothing is delivered until it is back.
    case storeAway = "store_away"
}

/// The events that are the hub's own word to one subscriber. They carry no id of their own, with one exception: a
/// snapshot is a place to resume from, so its id line is written by whoever knows the connection's cursor.
extension ByteBuffer {
    public mutating func writeSnapshot(_ record: FlowRecord, last: [TransientEvent]) {
        self.writeEvent(
            "snapshot",
            data: .object { writer in
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
            })
    }

    public mutating func writeResync(_ flow: FlowID, reason: ResyncReason, from: Version?, to: Version) {
        self.writeEvent(
            "resync",
            data: .object { writer in
                writer.key("flow_id")
                writer.value(flow.rawValue)
                writer.key("reason")
                writer.value(reason.rawValue)
                writer.key("from")
                if let from { writer.value(from) } else { writer.null() }
                writer.key("to")
                writer.value(to)
            })
    }

    public mutating func writeCaughtUp(_ flow: FlowID, version: Version) {
        self.writeEvent(
            "caught_up",
            data: .object { writer in
                writer.key("flow_id")
                writer.value(flow.rawValue)
                writer.key("version")
                writer.value(version)
            })
    }

    public mutating func writeHeartbeat(at time: Timestamp, delivery: DeliveryStatus) {
        self.writeEvent(
            "heartbeat",
            data: .object { writer in
                writer.key("time")
                writer.value(time.description)
                writer.key("delivery")
                writer.value(delivery.rawValue)
            })
    }

    public mutating func writePresence(_ flow: FlowID, count: Int) {
        self.writeEvent(
            "presence",
            data: .object { writer in
                writer.key("flow_id")
                writer.value(flow.rawValue)
                writer.key("count")
                writer.value(count)
            })
    }

    /// - Parameter flow: set when only this flow of several ends.
    public mutating func writeClosing(_ reason: ClosingReason, reconnect: Bool? = nil, flow: FlowID? = nil) {
        self.writeEvent(
            "closing",
            data: .object { writer in
                writer.key("reason")
                writer.value(reason.rawValue)
                writer.key("reconnect")
                writer.value(reconnect ?? reason.invitesReconnect)
                if let flow {
                    writer.key("flow_id")
                    writer.value(flow.rawValue)
                }
            })
    }
}
