import FlowCore
import FlowTestKit
import Testing

@testable import FlowObjects

@Suite struct CodecTests {
    private static let pool = WorkerPool(threads: 2)
    private let codec = GzipCodec(level: 1, pool: Self.pool)

    private static func text(_ count: Int, seed: UInt64) -> [UInt8] {
        var random = SeededRandom(seed: seed)
        return (0..<count).map { _ in UInt8(ascii: "a") + UInt8.random(in: 0..<16, using: &random) }
    }

    private static func decompressAll(_ decompressor: any StreamDecompressor, _ bytes: [UInt8], step: Int) throws(CodecError)
        -> [UInt8]
    {
        var all: [UInt8] = []
        for start in stride(from: 0, to: bytes.count, by: step) {
            var slice = bytes[start..<min(start + step, bytes.count)]
            while true {
                let some = try decompressor.decompress(&slice)
                all += some
                if some.isEmpty, slice.isEmpty { break }
            }
        }
        return all
    }

    @Test(arguments: [0, 1, 100, 1_048_576, 3_000_000]) func compressedDataRoundTrips(count: Int) async throws {
        let text = Self.text(count, seed: UInt64(count))
        let compressed = await self.codec.compress(text)
        #expect(compressed.starts(with: [0x1f, 0x8b]))
        #expect(try await self.codec.decompress(compressed, limit: count) == text)
        #expect(try Self.decompressAll(self.codec.makeDecompressor(), compressed, step: 70_000) == text)
        if count > 0 {
            await #expect(throws: CodecError.tooLarge) { try await self.codec.decompress(compressed, limit: count - 1) }
        }
    }

    @Test func decompressesConcatenatedMembers() async throws {
        let texts = (0..<20).map { Self.text(10_000 + $0, seed: UInt64($0)) }
        var compressed: [UInt8] = []
        for text in texts { compressed += await self.codec.compress(text) }
        let all = Array(texts.joined())
        #expect(try await self.codec.decompress(compressed, limit: all.count) == all)
        for step in [1, 7, 65_536] {
            let decompressor = self.codec.makeDecompressor()
            #expect(try Self.decompressAll(decompressor, compressed, step: step) == all)
            #expect(decompressor.isAtEnd)
        }
    }

    @Test func detectsTruncatedAndDamagedData() async throws {
        let text = Self.text(100_000, seed: 1)
        let compressed = await self.codec.compress(text)
        let truncated = self.codec.makeDecompressor()
        _ = try Self.decompressAll(truncated, Array(compressed.dropLast()), step: 5_000)
        #expect(!truncated.isAtEnd)
        var damaged = compressed
        damaged[compressed.count / 2] ^= 0xff
        #expect(throws: CodecError.self) { try Self.decompressAll(self.codec.makeDecompressor(), damaged, step: 5_000) }
        await #expect(throws: CodecError.self) { try await self.codec.decompress(damaged, limit: text.count) }
        #expect(throws: CodecError.malformed("data after the end of the gzip stream")) {
            try Self.decompressAll(self.codec.makeDecompressor(), compressed + [0x41], step: 5_000)
        }
        #expect(throws: CodecError.malformed("corrupted gzip data")) {
            try Self.decompressAll(self.codec.makeDecompressor(), Array("[1]".utf8), step: 5_000)
        }
    }

    @Test func concurrentOperationsAreIndependent() async throws {
        let codec = self.codec
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 0..<32 {
                group.addTask {
                    let text = Self.text(200_000 + number, seed: UInt64(number))
                    let compressed = await codec.compress(text)
                    let decompressed = try await codec.decompress(compressed, limit: text.count)
                    #expect(decompressed == text)
                }
            }
            try await group.waitForAll()
        }
    }
}
