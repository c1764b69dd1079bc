public import NIOCore

/// An event encoded as a block of an event stream, once, and shared by all its subscribers.
///
/// A stream with one flow sends ``block`` as it is. A stream with several flows has a cursor over all of them: it writes
/// its own `id:` line and then ``body``.
public struct Frame: Sendable {
    /// The event's version; 0 for a transient event.
    public let version: Version
    public let type: EventType
    public let createdAt: Timestamp
    /// The whole block: `id: …` (durable events only), `event: …`, `data: …` and the empty line.
    public let block: StreamBlock
    /// Number of bytes of the `id:` line at the start of ``block``; 0 if there is none.
    private let bodyOffset: Int

    /// The block without its `id:` line.
    public var body: ByteBuffer {
        var body = self.block.payload
        body.moveReaderIndex(forwardBy: self.bodyOffset)
        return body
    }

    public var isDurable: Bool { self.version > 0 }

    /// Encodes a durable event, with the `id:` line for a stream with one flow.
    public static func durable(_ event: FlowEvent, of flow: FlowID, epoch: Epoch) -> Frame {
        Frame(version: event.version, type: event.type, createdAt: event.createdAt, epoch: epoch, data: event.envelope(of: flow))
    }

    /// Encodes a transient event, which has no `id:` line.
    public static func transient(_ event: TransientEvent, of flow: FlowID) -> Frame {
        Frame(version: 0, type: event.type, createdAt: event.createdAt, epoch: nil, data: event.envelope(of: flow))
    }

    private init(version: Version, type: EventType, createdAt: Timestamp, epoch: Epoch?, data: JSONText) {
        var bodyOffset = 0
        self.block = StreamBlock(capacity: data.bytes.count + 96) { buffer in
            let start = buffer.readableBytes
            if let epoch { buffer.writeIDLine(epoch: epoch, version: version) }
            bodyOffset = buffer.readableBytes - start
            buffer.writeEvent(type.rawValue, data: data)
        }
        self.bodyOffset = bodyOffset
        self.version = version
        self.type = type
        self.createdAt = createdAt
    }
}

/// Encoders of the fields of an event stream (WHATWG HTML, section 9.2, "Server-sent events").
///
/// They do no escaping: types and ids consist of allow-listed characters and data is compact JSON, so no field can contain
/// a line break.
extension ByteBuffer {
    /// Writes `id: <epoch>-<version>`, the cursor of a stream with one flow.
    public mutating func writeIDLine(epoch: Epoch, version: Version) {
        self.writeString("id: \(epoch)-\(version)\n")
    }

    /// Writes `id: <epoch>-<hash>-<versions>`, the cursor of a stream with several flows.
    /// - Parameter versions: in the order of the sorted flow ids; `nil`, written as `~`, for a flow without a position yet.
    public mutating func writeIDLine(epoch: Epoch, flows: FlowSetHash, versions: some Sequence<Version?>) {
        self.writeString("id: \(epoch)-\(flows)-")
        var isFirst = true
        for version in versions {
            if !isFirst { self.writeInteger(UInt8(ascii: ".")) }
            isFirst = false
            self.writeString(version.map { String($0, radix: 36) } ?? "~")
        }
        self.writeInteger(UInt8(ascii: "\n"))
    }

    /// Writes `event: …`, `data: …` and the empty line that ends the block.
    public mutating func writeEvent(_ type: String, data: JSONText) {
        self.writeStaticString("event: ")
        self.writeString(type)
        self.writeStaticString("\ndata: ")
        self.writeBytes(data.bytes)
        self.writeStaticString("\n\n")
    }

    /// Writes `retry: …`: the time that an `EventSource` waits before it reconnects, in milliseconds.
    public mutating func writeRetry(milliseconds: Int) {
        self.writeString("retry: \(milliseconds)\n\n")
    }
}
