public import NIOCore

/// Bytes of an event stream that are sent together, framed as one chunk of HTTP/1.1 (RFC 9112, 7.1).
///
/// The text and the chunk are slices of the same storage, so all subscribers share it, whether their transport needs chunks or
/// not.
public struct StreamBlock: Sendable {
    /// The chunk: size, text and line end. Empty if the text is, because a chunk without bytes would end the body.
    public let chunk: ByteBuffer
    /// Number of events in the text.
    public let eventCount: Int
    /// Number of bytes before the text in ``chunk``.
    private let headLength: UInt8

    /// Bytes of the line end after the text.
    private static let tailLength = 2
    /// Bytes before the text: up to eight hexadecimal digits, aligned to the right, and a line end.
    fileprivate static let reservedHead = 10

    /// The text without framing.
    public var payload: ByteBuffer {
        guard self.headLength > 0 else { return self.chunk }
        var payload = self.chunk
        payload.moveReaderIndex(forwardBy: Int(self.headLength))
        payload.moveWriterIndex(to: payload.writerIndex - Self.tailLength)
        return payload
    }

    /// Number of bytes of the text.
    public var size: Int {
        self.headLength > 0 ? self.chunk.readableBytes - Int(self.headLength) - Self.tailLength : 0
    }

    public var isEmpty: Bool { self.headLength == 0 }

    /// Encodes a text.
    /// - Parameters:
    ///   - eventCount: number of events that `write` writes.
    ///   - capacity: number of bytes that the text is expected to have.
    ///   - write: appends the text to the buffer.
    public init(eventCount: Int = 1, capacity: Int = 256, _ write: (inout ByteBuffer) -> Void) {
        var builder = Builder(capacity: capacity)
        builder.append(eventCount: eventCount, write)
        self = builder.finish()
    }

    /// - Parameter buffer: ``reservedHead`` bytes, then the text; or no bytes.
    fileprivate init(finishing buffer: consuming ByteBuffer, eventCount: Int) {
        let size = buffer.readableBytes - Self.reservedHead
        guard size > 0 else {
            self.chunk = ByteBuffer()
            self.eventCount = 0
            self.headLength = 0
            return
        }
        buffer.writeStaticString("\r\n")
        let head = String(size, radix: 16) + "\r\n"
        let index = Self.reservedHead - head.utf8.count
        buffer.setString(head, at: buffer.readerIndex + index)
        buffer.moveReaderIndex(forwardBy: index)
        self.chunk = buffer
        self.eventCount = eventCount
        self.headLength = UInt8(Self.reservedHead - index)
    }

    /// Collects the text of a ``StreamBlock``. Allocates nothing until the first bytes are appended.
    public struct Builder: Sendable {
        private var buffer = ByteBuffer()
        private let capacity: Int
        private var eventCount = 0

        /// - Parameter capacity: number of bytes that the text is expected to have.
        public init(capacity: Int = 512) { self.capacity = capacity }

        /// Number of bytes of the text so far.
        public var size: Int { max(0, self.buffer.readableBytes - StreamBlock.reservedHead) }

        /// Lets `write` append text to the buffer.
        /// - Parameter eventCount: number of events that `write` completes.
        public mutating func append(eventCount: Int, _ write: (inout ByteBuffer) -> Void) {
            self.reserveHead()
            self.eventCount += eventCount
            write(&self.buffer)
        }

        /// Appends a copy of a text.
        /// - Parameter eventCount: number of events in the text.
        public mutating func append(_ text: ByteBuffer, eventCount: Int) {
            self.reserveHead()
            self.eventCount += eventCount
            self.buffer.writeImmutableBuffer(text)
        }

        /// The block of the text. Its storage is the builder's.
        public consuming func finish() -> StreamBlock {
            StreamBlock(finishing: self.buffer, eventCount: self.eventCount)
        }

        /// Allocates the buffer, and leaves room for the chunk's size.
        private mutating func reserveHead() {
            guard self.buffer.readableBytes == 0 else { return }
            self.buffer = ByteBufferAllocator().buffer(
                capacity: StreamBlock.reservedHead + self.capacity + StreamBlock.tailLength)
            self.buffer.writeRepeatingByte(UInt8(ascii: "0"), count: StreamBlock.reservedHead)
        }
    }
}
