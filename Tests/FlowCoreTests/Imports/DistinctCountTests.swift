import Testing

@testable import FlowCore

@Suite struct DistinctCountTests {
    private static func count(_ values: some Sequence<String>, maximumExact: Int = 256) -> DistinctCount {
        var count = DistinctCount(maximumExact: maximumExact)
        for value in values { count.add(StableHash.hash(Array(value.utf8)[...], seed: 0)) }
        return count
    }

    @Test func countIsExactUpToLimit() {
        #expect(Self.count([]).value == 0)
        let values = (0..<256).map { "value \($0)" }
        let exact = Self.count(values + values)
        #expect(exact.isExact)
        #expect(exact.value == 256)
        #expect(!Self.count(values + ["one more"]).isExact)
    }

    /// The bound is three times the standard error. The hash is the same in every run, so the test does not fail by
    /// chance.
    @Test(arguments: [257, 500, 1_000, 3_000, 10_000, 20_000, 100_000])
    func estimateErrorIsBelowFivePercent(_ number: Int) {
        for prefix in ["", "id-", "https://example.org/item/"] {
            let estimate = Self.count((0..<number).map { "\(prefix)\($0)" }).value
            #expect(abs(estimate - number) * 20 < number, "\(estimate) instead of \(number)")
        }
    }

    @Test func repeatedValuesDoNotChangeCount() {
        let values = (0..<2_000).map { "\($0)" }
        #expect(Self.count(values + values + values).value == Self.count(values).value)
    }

    @Test func hashDistinguishesSeedsAndLengths() {
        var hashes: Set<UInt64> = []
        for seed in UInt64(0)..<8 {
            for byte in UInt8(0)...255 { hashes.insert(StableHash.hash([byte], seed: seed)) }
            for count in 2..<40 { hashes.insert(StableHash.hash([UInt8](repeating: 0, count: count)[...], seed: seed)) }
        }
        #expect(hashes.count == 8 * (256 + 38))
    }
}
