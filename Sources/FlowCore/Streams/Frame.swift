/// A flow's event, encoded once and shared by all its subscribers.
public struct Frame: Sendable {
    /// The event's version; 0 for a transient event.
    public let version: Version
    public let type: EventType
    public let createdAt: Timestamp
    /// The event as a block. A durable event has the `id:` of a stream with one flow.
    public let encoded: EncodedEvent

    public var isDurable: Bool { self.version > 0 }
    /// Number of bytes of the block.
    public var size: Int { self.encoded.block.size }

    /// Encodes a durable event.
    public static func durable(_ event: FlowEvent, of flow: FlowID, epoch: Epoch) -> Frame {
        Frame(
            version: event.version, type: event.type, createdAt: event.createdAt,
            encoded: EncodedEvent(event.type.rawValue, data: event.envelope(of: flow), epoch: epoch, version: event.version))
    }

    /// Encodes a transient event, which has no `id:` line.
    public static func transient(_ event: TransientEvent, of flow: FlowID) -> Frame {
        Frame(
            version: 0, type: event.type, createdAt: event.createdAt,
            encoded: EncodedEvent(event.type.rawValue, data: event.envelope(of: flow)))
    }
}
