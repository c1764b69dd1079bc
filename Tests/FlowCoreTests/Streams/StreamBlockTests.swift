import FlowCore
import NIOCore
import Testing

extension CoreStreams {
    @Suite struct StreamBlockTests {
        @Test(arguments: [1, 9, 15, 16, 255, 256, 4_095, 4_096, 65_536, 1_048_577])
        func framesTextAsOneChunk(size: Int) {
            let text = String(repeating: "x", count: size)
            let block = StreamBlock(capacity: 16) { $0.writeString(text) }
            #expect(String(buffer: block.payload) == text)
            #expect(String(buffer: block.chunk) == String(size, radix: 16) + "\r\n\(text)\r\n")
            #expect(block.size == size && !block.isEmpty)
        }

        @Test func textAndChunkShareTheirStorage() {
            let block = StreamBlock { $0.writeString("data: {}\n\n") }
            let payload = block.payload.withUnsafeReadableBytes { UInt(bitPattern: $0.baseAddress) }
            let chunk = block.chunk.withUnsafeReadableBytes { UInt(bitPattern: $0.baseAddress) }
            #expect(payload == chunk + 3)
        }

        @Test func blockWithoutTextHasNoChunk() {
            for block in [StreamBlock { _ in }, StreamBlock.Builder().finish()] {
                #expect(block.isEmpty && block.size == 0 && block.eventCount == 0)
                #expect(block.chunk.readableBytes == 0 && block.payload.readableBytes == 0)
            }
        }

        @Test func runOfFramesIsOneChunk() {
            var builder = StreamBlock.Builder(capacity: 8)
            let frames = (1...3).map { Sample.frame($0) }
            for frame in frames { builder.append(frame.block.payload, eventCount: 1) }
            let text = frames.map { String(buffer: $0.block.payload) }.joined()
            #expect(builder.size == text.utf8.count)
            let block = builder.finish()
            #expect(String(buffer: block.chunk) == String(text.utf8.count, radix: 16) + "\r\n\(text)\r\n")
            #expect(block.eventCount == 3)
        }
    }
}
