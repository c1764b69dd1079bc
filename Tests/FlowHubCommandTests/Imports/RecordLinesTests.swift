import Testing

@testable import flowhub

@Suite struct RecordLinesTests {
    /// Parses a text in chunks of this size.
    private static func read(_ text: String, chunk: Int = .max) throws -> (text: String, records: Int) {
        var lines = RecordLines()
        var output: [UInt8] = []
        let bytes = Array(text.utf8)
        for start in stride(from: 0, to: bytes.count, by: min(chunk, max(bytes.count, 1))) {
            let part = Array(bytes[start..<min(start + min(chunk, bytes.count), bytes.count)])
            try part.withUnsafeBytes { try lines.feed($0, into: &output) }
        }
        try lines.finish()
        return (String(decoding: output, as: UTF8.self), lines.records)
    }

    @Test func removesArrayAroundRecordsInChunksOfAnySize() throws {
        let records = [#"{"a":"x,"}"#, "1", #"",""#, "[]", "[1,2]", #""]""#, "null"]
        let text = "[\n" + records.joined(separator: ",\n") + "\n]\n"
        for size in 1...text.utf8.count {
            let result = try Self.read(text, chunk: size)
            #expect(result.text == records.map { $0 + "\n" }.joined(), "in chunks of \(size)")
            #expect(result.records == records.count)
        }
    }

    @Test(arguments: ["[\n]\n", "[\n]", "[]", "[]\n"])
    func emptyArrayHasNoRecords(text: String) throws {
        let result = try Self.read(text)
        #expect(result.text == "" && result.records == 0)
    }

    @Test(arguments: [
        ("", 2), ("x", 1), ("[", 2), ("[\n", 2), ("[ 1 ]", 1), ("[1,2]", 1), ("[\n1", 2), ("[\n1\n", 3), ("[\n1,\n]\n", 3),
        ("[\n1\n2\n]\n", 3), ("[\n\n1\n]\n", 2), ("[\n,\n]\n", 2), ("[\n1\n]\n\n", 4), ("[\n1\n]x", 3), ("[\n1,\n2\n", 4),
    ])
    func rejectsOtherLayoutWithLineInChunksOfAnySize(text: String, line: Int) {
        for size in 1...max(text.utf8.count, 1) {
            #expect(throws: RecordLines.Malformed(line: line), "in chunks of \(size)") { try Self.read(text, chunk: size) }
        }
    }
}
