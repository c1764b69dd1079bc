import NIOCore
import Testing

@testable import FlowHTTP

/// The memory that NIO's pool of receive buffers keeps for a connection which receives nothing.
struct ReceiveBuffersTests {
    /// One read of a channel.
    /// - Returns: the buffer, as a channel passes it on.
    private func read(_ bytes: Int?, from pool: inout NIOPooledRecvBufferAllocator) -> ByteBuffer {
        let (buffer, count) = pool.buffer(allocator: ByteBufferAllocator()) { buffer in
            buffer.writeRepeatingByte(1, count: min(bytes ?? .max, buffer.capacity))
        }
        pool.record(actualReadBytes: count)
        return buffer
    }

    @Test func theOnlyBufferThatIsKeptIsTiny() {
        var pool = NIOPooledRecvBufferAllocator(
            capacity: Int(ReceiveBuffers.messagesPerRead), recvAllocator: ReceiveBuffers())
        let first = self.read(nil, from: &pool)
        #expect(first.readableBytes == 16)
        for bytes in [200, 1_000, 16, 70_000, nil, nil] {
            var buffer = self.read(bytes, from: &pool)
            #expect(pool.count == 1)
            // Nothing else refers to the storage: it is released when the handlers have processed it.
            #expect(buffer.modifyIfUniquelyOwned { $0.readableBytes } != nil)
        }
    }

    @Test func theSizeFollowsWhatArrives() {
        var allocator = ReceiveBuffers()
        func size() -> Int { allocator.buffer(allocator: ByteBufferAllocator()).capacity }
        _ = allocator.record(actualReadBytes: 16)
        #expect(size() == 1_024)
        var sizes: [Int] = []
        for _ in 0..<8 {
            _ = allocator.record(actualReadBytes: size())
            sizes.append(size())
        }
        #expect(sizes == [2_048, 4_096, 8_192, 16_384, 32_768, 65_536, 65_536, 65_536])
        // Two small reads in a row halve it, down to the minimum.
        _ = allocator.record(actualReadBytes: 100)
        #expect(size() == 65_536)
        _ = allocator.record(actualReadBytes: 100)
        #expect(size() == 32_768)
        for _ in 0..<40 { _ = allocator.record(actualReadBytes: 100) }
        #expect(size() == 512)
    }

    @Test func theAllocatorNeedsNoMemoryOfItsOwn() {
        // An existential holds values of up to three words inline.
        #expect(MemoryLayout<ReceiveBuffers>.size <= 3 * MemoryLayout<Int>.size)
    }
}
