import FlowTestKit
import NIOCore
import Testing

@testable import FlowRedis

@Suite struct RESPReaderTests {
    private static func read(_ bytes: [UInt8], chunkSize: Int = .max, maximumReply: Int = 1_000_000) throws -> [RESPValue] {
        let reader = RESPReader(maximumReply: maximumReply)
        var values: [RESPValue] = []
        var rest = bytes[...]
        while !rest.isEmpty {
            try reader.feed(ByteBuffer(bytes: rest.prefix(chunkSize)))
            rest = rest.dropFirst(chunkSize)
            while let value = try reader.next() { values.append(value) }
        }
        return values
    }

    private static let everything =
        "+OK\r\n-ERR no\r\n:-42\r\n$5\r\na\r\nb\0\r\n$0\r\n\r\n$-1\r\n*-1\r\n*0\r\n*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$2\r\nhi\r\n*2\r\n*1\r\n:1\r\n+x\r\n"
    private static let values: [RESPValue] = [
        .status("OK"), .error("ERR no"), .integer(-42), .string(Array("a\r\nb\0".utf8)), .string([]), .null, .null, .array([]),
        .array([.string(Array("message".utf8)), .string(Array("c".utf8)), .string(Array("hi".utf8))]),
        .array([.array([.integer(1)]), .status("x")]),
    ]

    @Test(arguments: [1, 2, 3, 7, .max]) func readsRepliesInChunksOfAnySize(chunkSize: Int) throws {
        #expect(try Self.read(Array(Self.everything.utf8), chunkSize: chunkSize) == Self.values)
    }

    @Test(arguments: [
        "what\r\n", "*1\r\n!x\r\n", "$abc\r\n", ":12a\r\n", "*99999999999999999999\r\n", "*2147483647\r\n", "$-7\r\n", "*-3\r\n",
        "\r\n",
        String(repeating: "*1\r\n", count: 100_000), String(repeating: "*1\r\n", count: 10) + ":1\r\n",
    ])
    func malformedInputFailsPermanently(text: String) throws {
        #expect(throws: RESPReader.Malformed.self) { try Self.read(Array(text.utf8)) }
        let reader = RESPReader(maximumReply: 100)
        #expect(throws: RESPReader.Malformed.self) {
            try reader.feed(ByteBuffer(string: text))
            while try reader.next() != nil {}
        }
        #expect(throws: RESPReader.Malformed.self) {
            try reader.feed(ByteBuffer(string: "+OK\r\n"))
            _ = try reader.next()
        }
    }

    @Test func rejectsReplyOverMaximumSize() throws {
        #expect(throws: RESPReader.Malformed.self) {
            try Self.read(Array("$900000\r\n".utf8) + [UInt8](repeating: 0, count: 2_000), chunkSize: 100, maximumReply: 1_000)
        }
    }

    @Test func fuzzedBytesYieldRepliesOrError() throws {
        var random = SeededRandom(seed: 20_261_124)
        var errors = 0
        for round in 0..<20_000 {
            var bytes =
                round % 2 == 0 ? Array(Self.everything.utf8) : (0..<64).map { _ in UInt8.random(in: 0...255, using: &random) }
            for _ in 0..<Int.random(in: 1...4, using: &random) {
                let index = Int.random(in: bytes.indices, using: &random)
                switch Int.random(in: 0..<3, using: &random) {
                case 0: bytes[index] = UInt8.random(in: 0...255, using: &random)
                case 1: bytes.remove(at: index)
                default: bytes.insert(Array("*$:+-\r\n0198".utf8).randomElement(using: &random) ?? 0, at: index)
                }
            }
            do { _ = try Self.read(bytes, chunkSize: Int.random(in: 1...40, using: &random), maximumReply: 4_096) } catch {
                errors += 1
            }
        }
        #expect(errors > 1_000 && errors < 20_000)
    }

    @Test func encodesCommandsAsArraysOfBulkStrings() throws {
        var command = RESPCommand("SET", "k")
        command.add([0, 13, 10, 37, 115])
        command.add("")
        var buffer = ByteBuffer()
        buffer.write(command)
        #expect(Array(buffer.readableBytesView) == Array("*4\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\n\0\r\n%s\r\n$0\r\n\r\n".utf8))
    }
}
