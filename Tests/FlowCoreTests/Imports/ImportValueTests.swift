import FlowCore
import Foundation
import Testing

@Suite struct ImportValueTests {
    /// Reads a record byte by byte.
    /// - Returns: the CPU time in nanoseconds, the minimum of three runs.
    private static func time(_ record: [UInt8], _ format: ImportFormat) throws -> Int {
        let times = try (0..<3).map { _ in
            let start = Self.processorTime
            var reader = RecordReader(format: format)
            var page = RecordPage(continuing: false, capacity: 1 << 10)
            for byte in record { _ = try reader.read([byte].span, from: 0, into: &page, target: 1 << 10) }
            try reader.finish(into: &page)
            #expect(page.records.count == 1)
            return Self.processorTime - start
        }
        return times.min() ?? 0
    }

    /// CPU time of this thread in nanoseconds, so that other threads do not affect the result.
    private static var processorTime: Int {
        var time = timespec()
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
        return time.tv_sec * 1_000_000_000 + time.tv_nsec
    }

    /// Bytes are not read again: 16 times the bytes take about 16 times as long, not 256 times.
    @Test(
        arguments: [
            (.ndjson, "{\"a\":\"", "x", "\"}"), (.ndjson, "[", "1,", "2]"), (.json, "[[ ", " ", "]]"),
            (.csv, "a\n\"", "x\n", "\""),
            (.csv, "a\n", "\\", "\n"), (.csv, "\"a", "x", "\"\n1"),
        ] as [(ImportFormat, String, String, String)])
    func readingByteByByteTakesLinearTime(_ format: ImportFormat, _ begin: String, _ middle: String, _ end: String) throws {
        func record(_ count: Int) -> [UInt8] { Array((begin + String(repeating: middle, count: count) + end).utf8) }
        let short = try Self.time(record(2_000), format)
        let long = try Self.time(record(32_000), format)
        #expect(long < short * 80)
    }
}
