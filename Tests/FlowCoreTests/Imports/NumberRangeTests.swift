import Testing

@testable import FlowCore

@Suite struct NumberRangeTests {
    /// Each row is less than the next; the numbers in one row are equal.
    private static let order: [[String]] = [
        ["-1e300", "-10e299"], ["-9007199254740993"], ["-9007199254740992"], ["-1.5", "-15e-1", "-0.15e1"], ["-1", "-1.0"],
        ["-1e-400"], ["-2e-999999999999999999999"], ["0", "-0", "0.00", "0e5", "-0.0E-7"], ["2e-999999999999999999999"],
        ["1e-400", "10e-401"], ["0.001", "1e-3", "0.1E-2"], ["0.0010000000000000000001"], ["1", "1.000"],
        ["1.00000000000000000001"], ["9.99"], ["10", "1e1", "1E+1", "0.1e2"], ["100"], ["9007199254740992"],
        ["9007199254740993", "9007199254740993.0"], ["9007199254740993.5"], ["123456789012345678901234567890"],
        ["123456789012345678901234567891"],
    ]

    @Test func numbersAreOrderedExactly() {
        for (left, lefts) in Self.order.enumerated() {
            for (right, rights) in Self.order.enumerated() {
                for (one, other) in lefts.flatMap({ one in rights.map { (one, $0) } }) {
                    #expect((DecimalValue(one.utf8) < DecimalValue(other.utf8)) == (left < right), "\(one) < \(other)")
                }
            }
        }
    }

    @Test func rangeEndsKeepOriginalText() {
        var generator = JSONFuzzGenerator(seed: 5)
        let all = Self.order.map { $0[0] }
        for _ in 0..<50 {
            var range = NumberRange()
            for number in all.shuffled(using: &generator) { range.add(Array(number.utf8)[...]) }
            #expect(range.least.map { String(decoding: $0, as: UTF8.self) } == all.first)
            #expect(range.greatest.map { String(decoding: $0, as: UTF8.self) } == all.last)
        }
    }

    @Test func emptyRangeHasNoEndsAndEqualNumbersKeepFirst() {
        #expect(NumberRange().least == nil)
        var range = NumberRange()
        range.add(Array("5".utf8)[...])
        range.add(Array("5.0".utf8)[...])
        #expect(range.least == Array("5".utf8)[...] && range.greatest == Array("5".utf8)[...])
    }
}
