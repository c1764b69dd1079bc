import FlowCore

/// The events of `/v1/feed`: `flows` lists the account's flows, then `flow` reports each change.
enum FeedEvents {
    /// The event `flows`, the first of a feed.
    static func first(_ heads: [FlowHead]) -> EncodedEvent {
        EncodedEvent(
            "flows",
            data: .object { writer in
                writer.key("type")
                writer.value("flows")
                writer.key("flows")
                writer.beginArray()
                for head in heads { writer.raw(Self.summary(of: head)) }
                writer.endArray()
            })
    }

    /// The event `flow`, which reports a change.
    static func change(_ head: FlowHead) -> EncodedEvent {
        EncodedEvent(
            "flow",
            data: .object { writer in
                writer.key("type")
                writer.value("flow")
                Self.writeMembers(of: head, to: &writer)
            })
    }

    /// `{"flow_id","version","status","updated_at"}`
    static func summary(of head: FlowHead) -> JSONText { .object { Self.writeMembers(of: head, to: &$0) } }

    private static func writeMembers(of head: FlowHead, to writer: inout JSONWriter) {
        writer.key("flow_id")
        writer.value(head.flow.rawValue)
        writer.key("version")
        writer.value(head.version)
        writer.key("status")
        writer.value(head.status.rawValue)
        writer.key("updated_at")
        writer.value(head.updatedAt.description)
    }
}
