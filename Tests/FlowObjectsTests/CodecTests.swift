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

    private static func unpackAll(_ unpacker: any StreamDecompressor, _ bytes: [UInt8], step: Int) throws(CodecError) -> [UInt8] {
        var all: [UInt8] = []
        for start in stride(from: 0, to: bytes.count, by: step) {
            var slice = bytes[start..<min(start + step, bytes.count)]
            while true {
                let some = try unpacker.unpack(&slice)
                all += some
                if some.isEmpty, slice.isEmpty { break }
            }
        }
        return all
    }

    @Test(arguments: [0, 1, 100, 1_048_576, 3_000_000]) func aMemberComesBack(count: Int) async throws {
        let text = Self.text(count, seed: UInt64(count))
        let packed = await self.codec.pack(text)
        #expect(packed.starts(with: [0x1f, 0x8b]))
        #expect(try await self.codec.unpack(packed, limit: count) == text)
        #expect(try Self.unpackAll(self.codec.makeUnpacker(), packed, step: 70_000) == text)
        if count > 0 {
            await #expect(throws: CodecError.tooLarge) { try await self.codec.unpack(packed, limit: count - 1) }
        }
    }

    @Test func membersInARowAreOneText() async throws {
        let texts = (0..<20).map { Self.text(10_000 + $0, seed: UInt64($0)) }
        var packed: [UInt8] = []
        for text in texts { packed += await self.codec.pack(text) }
        let all = Array(texts.joined())
        #expect(try await self.codec.unpack(packed, limit: all.count) == all)
        for step in [1, 7, 65_536] {
            let unpacker = self.codec.makeUnpacker()
            #expect(try Self.unpackAll(unpacker, packed, step: step) == all)
            #expect(unpacker.isAtEnd)
        }
    }

    @Test func whatIsCutOrDamagedIsSeen() async throws {
        let text = Self.text(100_000, seed: 1)
        let packed = await self.codec.pack(text)
        let cut = self.codec.makeUnpacker()
        _ = try Self.unpackAll(cut, Array(packed.dropLast()), step: 5_000)
        #expect(!cut.isAtEnd)
        var damaged = packed
        damaged[packed.count / 2] ^= 0xff
        #expect(throws: CodecError.self) { try Self.unpackAll(self.codec.makeUnpacker(), damaged, step: 5_000) }
        await #expect(throws: CodecError.self) { try await self.codec.unpack(damaged, limit: text.count) }
        #expect(throws: CodecError.malformed("bytes behind the end of the gzip data")) {
            try Self.unpackAll(self.codec.makeUnpacker(), packed + [0x41], step: 5_000)
        }
        #expect(throws: CodecError.malformed("the gzip data are damaged")) {
            try Self.unpackAll(self.codec.makeUnpacker(), Array("[1]".utf8), step: 5_000)
        }
    }

    @Test func manyAtOnceDoNotMeddleWithEachOther() async throws {
        let codec = self.codec
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 0..<32 {
                group.addTask {
                    let text = Self.text(200_000 + number, seed: UInt64(number))
                    let packed = await codec.pack(text)
                    let unpacked = try await codec.unpack(packed, limit: text.count)
                    #expect(unpacked == text)
                }
            }
            try await group.waitForAll()
        }
    }
}
