import FlowCore
import Testing

@Suite struct ImportPiecesTests {
    /// Feeds a record byte by byte.
    private static func time(_ record: [UInt8], _ format: ImportFormat) throws -> Duration {
        let times = try (0..<3).map { _ in
            try ContinuousClock().measure {
                var reader = RecordReader(format: format)
                var page = RecordPage(continuing: false, capacity: 1 << 10)
                for byte in record { _ = try reader.read([byte].span, from: 0, into: &page, target: 1 << 10) }
                try reader.finish(into: &page)
                #expect(page.records.count == 1)
            }
        }
        return times.min() ?? .zero
    }

    /// What was read is not looked at again: sixteen times the bytes take sixteen times as long, not 256 times.
    @Test(
        arguments: [
            (.ndjson, "{\"a\":\"", "x", "\"}"), (.ndjson, "[", "1,", "2]"), (.json, "[[ ", " ", "]]"),
            (.csv, "a\n\"", "x\n", "\""),
            (.csv, "a\n", "\\", "\n"), (.csv, "\"a", "x", "\"\n1"),
        ] as [(ImportFormat, String, String, String)])
    func bytesOneByOneTakeLinearTime(_ format: ImportFormat, _ begin: String, _ middle: String, _ end: String) throws {
        func record(_ count: Int) -> [UInt8] { Array((begin + String(repeating: middle, count: count) + end).utf8) }
        let short = try Self.time(record(2_000), format)
        let long = try Self.time(record(32_000), format)
        #expect(long < short * 80)
    }
}
