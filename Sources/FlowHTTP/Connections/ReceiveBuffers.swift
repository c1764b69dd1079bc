import NIOCore

/// Allocates the buffers that a connection's socket is read into, so that a connection which receives nothing holds none of
/// them: an idle event stream would spend a fifth of its memory on one.
///
/// NIO keeps the first buffer of a channel, and reuses it only if no handler holds a slice of it; if the channel has
/// ``messagesPerRead`` 1 it keeps no other. So the first one is tiny. It takes one more read of the socket at the start of each
/// connection. All further buffers are released when they were processed.
///
/// The size of a read is adapted as by NIO's `AdaptiveRecvByteBufferAllocator`. The value fits into an existential without
/// another allocation.
struct ReceiveBuffers: RecvByteBufferAllocator {
    /// The channel option `maxMessagesPerRead` of a channel with this allocator.
    static let messagesPerRead: UInt = 1

    private static let firstSize: Int32 = 16
    private static let initialSize: Int32 = 1_024
    private static let minimumSize: Int32 = 512
    private static let maximumSize: Int32 = 65_536

    private var size = Self.firstSize
    /// Whether the last read filled at most half of its buffer. After a second one in a row the buffers become smaller.
    private var wasSmall = false

    func buffer(allocator: ByteBufferAllocator) -> ByteBuffer { allocator.buffer(capacity: Int(self.size)) }

    /// `nil`: the size alone is no reason to reuse a buffer.
    func nextBufferSize() -> Int? { nil }

    /// - Returns: `true`: NIO must request a new buffer for each read.
    mutating func record(actualReadBytes: Int) -> Bool {
        if self.size == Self.firstSize {
            self.size = Self.initialSize
        } else if actualReadBytes >= Int(self.size) {
            self.size = min(self.size * 2, Self.maximumSize)
            self.wasSmall = false
        } else if actualReadBytes <= Int(self.size / 2), self.size > Self.minimumSize {
            if self.wasSmall { self.size /= 2 }
            self.wasSmall.toggle()
        } else {
            self.wasSmall = false
        }
        return true
    }
}
