public import NIOCore

/// One event as a block of an event stream: the `id:` line if it has one, `event:`, the `data:` lines and the empty line.
///
/// A stream sends ``block`` as it is, or puts its own block together from the parts, which are slices of the same storage.
public struct EncodedEvent: Sendable {
    /// The whole block.
    public let block: StreamBlock
    /// Number of bytes before the line `event:`.
    private let typeOffset: Int32
    /// Number of bytes before the first line `data:`.
    private let dataOffset: Int32

    /// Encodes an event.
    /// - Parameter cursor: what the line `id:` contains; `nil` for an event without one.
    public init(_ type: String, data: JSONText, cursor: Cursor? = nil) {
        self.init(type, data: data) { buffer in
            if let cursor { buffer.writeIDLine(cursor) }
        }
    }

    /// Encodes a durable event of a flow.
    init(_ type: String, data: JSONText, epoch: Epoch, version: Version) {
        self.init(type, data: data) { $0.writeIDLine(epoch: epoch, version: version) }
    }

    private init(_ type: String, data: JSONText, writeID: (inout ByteBuffer) -> Void) {
        var typeOffset = 0
        var dataOffset = 0
        self.block = StreamBlock(capacity: data.bytes.count + 96) { buffer in
            let start = buffer.readableBytes
            writeID(&buffer)
            typeOffset = buffer.readableBytes - start
            buffer.writeTypeLine(type)
            dataOffset = buffer.readableBytes - start
            buffer.writeDataLines(data)
            buffer.writeStaticString("\n")
        }
        self.typeOffset = Int32(typeOffset)
        self.dataOffset = Int32(dataOffset)
    }

    /// The line `id:`; empty if the event has none.
    public var idLine: ByteBuffer {
        var line = self.block.payload
        line.moveWriterIndex(to: line.readerIndex + Int(self.typeOffset))
        return line
    }

    /// The block without the line `id:`.
    public var body: ByteBuffer { self.block.payload.droppingFirst(Int(self.typeOffset)) }

    /// The block without the lines `id:` and `event:`.
    public var data: ByteBuffer { self.block.payload.droppingFirst(Int(self.dataOffset)) }
}

extension ByteBuffer {
    /// The same bytes without the first `count` ones.
    fileprivate func droppingFirst(_ count: Int) -> ByteBuffer {
        var rest = self
        rest.moveReaderIndex(forwardBy: count)
        return rest
    }
}
