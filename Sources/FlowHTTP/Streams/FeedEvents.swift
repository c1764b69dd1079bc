import FlowCore
import NIOCore

/// The events of `/v1/feed`: `flows` lists the account's flows, then `flow` reports each change.
enum FeedEvents {
    /// The event `flows`, the first of a feed.
    static func first(_ heads: [FlowHead]) -> StreamBlock {
        let data = JSONText.object { writer in
            writer.key("flows")
            writer.beginArray()
            for head in heads { writer.raw(Self.summary(of: head)) }
            writer.endArray()
        }
        return StreamBlock(capacity: data.bytes.count + 64) { $0.writeEvent("flows", data: data) }
    }

    /// An event `flow` for each changed flow.
    static func changes(_ heads: [FlowHead]) -> StreamBlock {
        StreamBlock(eventCount: heads.count) { buffer in
            for head in heads { buffer.writeEvent("flow", data: Self.summary(of: head)) }
        }
    }

    /// `{"flow_id","version","status","updated_at"}`
    static func summary(of head: FlowHead) -> JSONText {
        .object { writer in
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
}
