import Testing

@testable import flowhub

@Suite struct LatencyHistogramTests {
    @Test func bucketStartIsAtMostOneSixtyFourthBelowValue() {
        let values: [UInt64] = Array(0..<5000) + [65_535, 65_536, 1 << 30, (1 << 36) - 1]
        for value in values {
            let start = LatencyHistogram.start(of: LatencyHistogram.bucket(value))
            #expect(start <= value)
            #expect(value - start <= value / 64)
        }
    }

    @Test func percentilesMatchRecordedValues() {
        var histogram = LatencyHistogram()
        #expect(histogram.percentile(0.5) == 0)
        for value in 1...60 { histogram.record(microseconds: UInt64(value)) }
        #expect(histogram.percentile(0.5) == 30)
        #expect(histogram.percentile(0) == 1)
        histogram.record(microseconds: .max)
        #expect(histogram.percentile(1) == .max)
    }
}
