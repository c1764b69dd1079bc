public import NIOCore

/// One event as it goes over the wire, encoded once and shared by every subscriber that gets it.
///
/// For a connection with one flow the whole of ``bytes`` is sent. A connection with several flows has a cursor of its
/// own, so it writes its own id line and then ``body``.
public struct Frame: Sendable {
    /// 0 for an event that has no version.
    public let version: Version
    public let type: EventType
    public let createdAt: Timestamp
    /// `id: …` (durable only), `event: …`, `data: …` and the empty line.
    public let bytes: ByteBuffer
    private let bodyOffset: Int

    /// The block without its id line.
    public var body: ByteBuffer {
        var body = self.bytes
        body.moveReaderIndex(forwardBy: self.bodyOffset)
        return body
    }

    public var isDurable: Bool { self.version > 0 }

    public static func durable(_ event: FlowEvent, of flow: FlowID, epoch: Epoch) -> Frame {
        Frame(version: event.version, type: event.type, createdAt: event.createdAt, epoch: epoch, data: event.envelope(of: flow))
    }

    public static func transient(_ event: TransientEvent, of flow: FlowID) -> Frame {
        Frame(version: 0, type: event.type, createdAt: event.createdAt, epoch: nil, data: event.envelope(of: flow))
    }

    private init(version: Version, type: EventType, createdAt: Timestamp, epoch: Epoch?, data: JSONText) {
        var buffer = ByteBufferAllocator().buffer(capacity: data.bytes.count + 96)
        if let epoch { buffer.writeIDLine(epoch: epoch, version: version) }
        self.bodyOffset = buffer.readableBytes
        buffer.writeEvent(type.rawValue, data: data)
        self.version = version
        self.type = type
        self.createdAt = createdAt
        self.bytes = buffer
    }
}

/// The pieces of an event stream (WHATWG HTML, section 9.2, "Server-sent events").
///
/// Types and ids come from allow-lists and data is compact JSON, so no field can hold a line break.
extension ByteBuffer {
    /// `id: <epoch>-<version>`
    public mutating func writeIDLine(epoch: Epoch, version: Version) {
        self.writeString("id: \(epoch)-\(version)\n")
    }

    /// `id: <epoch>-<hash>-<versions>` of a connection with several flows; a flow not sent yet is `~`.
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

    /// `event: …`, `data: …` and the empty line that ends the block.
    public mutating func writeEvent(_ type: String, data: JSONText) {
        self.writeStaticString("event: ")
        self.writeString(type)
        self.writeStaticString("\ndata: ")
        self.writeBytes(data.bytes)
        self.writeStaticString("\n\n")
    }

    /// `retry: …`: how long an `EventSource` waits before it reconnects.
    public mutating func writeRetry(milliseconds: Int) {
        self.writeString("retry: \(milliseconds)\n\n")
    }
}
