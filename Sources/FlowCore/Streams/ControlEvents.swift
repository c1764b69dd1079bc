public import NIOCore

/// Encoders of the control events: the hub's own events, each written for one stream.
///
/// They have no version and no `id:` line. The exception is `snapshot`, from which a client can resume: the stream, which
/// knows its own cursor, writes the `id:` line before this event.
extension ByteBuffer {
    /// Writes a flow's state as the event `snapshot`.
    /// - Parameter last: the flow's latest transient events, at most one of each type.
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

    /// Writes the event `resync`: the subscriber's position is invalid and a snapshot follows.
    /// - Parameters:
    ///   - from: the last version that the subscriber was sent; `nil` if unknown.
    ///   - to: the version of the snapshot that follows.
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

    /// Writes the event `caught_up`: the replay has reached the flow's head, which is at this version.
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

    /// Writes the event `heartbeat`, which shows the client that the stream is alive.
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

    /// Writes the event `presence`: the number of streams that watch the flow.
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

    /// Writes the event `closing`, the last one of a stream or of one of its flows.
    /// - Parameters:
    ///   - reconnect: whether the client should reconnect; `nil` for ``ClosingReason/allowsReconnect``.
    ///   - flow: the flow that ends, if the stream goes on with others; `nil` if the whole stream ends.
    public mutating func writeClosing(_ reason: ClosingReason, reconnect: Bool? = nil, flow: FlowID? = nil) {
        self.writeEvent(
            "closing",
            data: .object { writer in
                writer.key("reason")
                writer.value(reason.rawValue)
                writer.key("reconnect")
                writer.value(reconnect ?? reason.allowsReconnect)
                if let flow {
                    writer.key("flow_id")
                    writer.value(flow.rawValue)
                }
            })
    }
}
