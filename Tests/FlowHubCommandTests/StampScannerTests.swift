import Testing

@testable import flowhub

@Suite struct StampScannerTests {
    @Test func findsStampsInChunksOfAnySize() {
        let stamps: [UInt64] = [1, 1_234_567_890_123_456_789]
        let text = "~~T=12~id: e~1\n\(stamps.map { "x~" + StampScanner.stamp(nanoseconds: $0) + "aaa" }.joined())~T=1"
        let bytes = Array(text.utf8)
        for size in 1...bytes.count {
            var scanner = StampScanner()
            var found: [UInt64] = []
            for start in stride(from: 0, to: bytes.count, by: size) {
                let chunk = Array(bytes[start..<min(start + size, bytes.count)])
                scanner.scan(chunk.span) { found.append($0) }
            }
            #expect(found == stamps, "in chunks of \(size)")
        }
    }
}
