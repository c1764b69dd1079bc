import FlowCore
import Testing

/// Checks each limit at its last allowed value and one above.
@Suite struct JSONLimitTests {
    static func nested(_ depth: Int, objects: Bool) -> [UInt8] {
        let open = objects ? #"{"a":"# : "["
        let close = objects ? "}" : "]"
        return Array((String(repeating: open, count: depth) + "1" + String(repeating: close, count: depth)).utf8)
    }

    @Test(arguments: [1, 2, 63, 64, 65, 127, 128, 129, 500, 512], [true, false])
    func rejectsDepthOverLimit(_ depth: Int, objects: Bool) throws {
        let limits = JSONLimits(maximumDepth: depth)
        let bytes = Self.nested(depth, objects: objects)
        #expect(try JSONText(validating: bytes, limits: limits).bytes == bytes)
        let offset = depth * (objects ? 5 : 1)
        #expect(throws: JSONError(code: .depthExceeded, offset: offset)) {
            try JSONText(validating: Self.nested(depth + 1, objects: objects), limits: limits)
        }
    }

    @Test func depthCountsObjectsAndArraysTogether() throws {
        let limits = JSONLimits(maximumDepth: 3)
        _ = try JSONText(validating: #"[{"a":[1]},[[]]]"#.utf8, limits: limits)
        #expect(throws: JSONError(code: .depthExceeded, offset: 7)) {
            try JSONText(validating: #"[{"a":[{}]}]"#.utf8, limits: limits)
        }
    }

    @Test func configurationCannotExceedGreatestDepth() {
        let limits = JSONLimits(maximumDepth: .max)
        #expect(throws: JSONError(code: .depthExceeded, offset: JSONLimits.greatestDepth)) {
            try JSONText(validating: Self.nested(JSONLimits.greatestDepth + 1, objects: false), limits: limits)
        }
    }

    @Test func scalarsNeedNoDepth() throws {
        let limits = JSONLimits(maximumDepth: 0)
        #expect(try JSONText(validating: "1".utf8, limits: limits).intValue == 1)
        #expect(throws: JSONError(code: .depthExceeded, offset: 0)) { try JSONText(validating: "[]".utf8, limits: limits) }
    }

    @Test func mixedNestingRejectsMismatchedBracket() throws {
        // Depths around multiples of 64, so that a bit lost between two words is noticed.
        for depth in [63, 64, 65, 130, 200] {
            let kinds = (0..<depth).map { $0 % 3 == 0 || $0 % 64 == 63 }
            let opened = kinds.map { $0 ? #"{"k":"# : "[" }.joined()
            let closed = kinds.reversed().map { $0 ? "}" : "]" }.joined()
            let limits = JSONLimits(maximumDepth: 200)
            _ = try JSONText(validating: (opened + "0" + closed).utf8, limits: limits)
            var wrong = Array((opened + "0" + closed).utf8)
            wrong[wrong.count - 1] = UInt8(ascii: kinds[0] ? "]" : "}")
            #expect(throws: JSONError(code: .syntax, offset: wrong.count - 1)) { try JSONText(validating: wrong, limits: limits) }
        }
    }

    @Test func rejectsHundredThousandLevels() {
        #expect(throws: JSONError(code: .depthExceeded, offset: 64)) {
            try JSONText(validating: [UInt8](repeating: UInt8(ascii: "["), count: 100_000))
        }
        #expect(throws: JSONError(code: .depthExceeded, offset: 320)) {
            try JSONText(validating: Self.nested(100_000, objects: true))
        }
    }

    @Test(arguments: ["1", "-0.", "0.", "-1e-"])
    func rejectsNumberOverLengthLimit(_ start: String) throws {
        let limits = JSONLimits(maximumNumberLength: 20)
        let longest = start + String(repeating: "1", count: 20 - start.utf8.count)
        #expect(try JSONText(validating: longest.utf8, limits: limits).string == longest)
        #expect(throws: JSONError(code: .invalidNumber, offset: 1)) {
            try JSONText(validating: "[\(longest)1]".utf8, limits: limits)
        }
    }

    @Test func defaultNumberLengthIs1000Bytes() throws {
        let longest = "0." + String(repeating: "3", count: 998)
        #expect(try JSONText(validating: longest.utf8).string == longest)
        #expect(throws: JSONError(code: .invalidNumber, offset: 0)) { try JSONText(validating: (longest + "3").utf8) }
    }

    @Test func rejectsNumberOutsideDoubleRange() throws {
        let accepted = [
            "1.7976931348623157e308", "-1.7976931348623157e+308", "1.7976931348623158e308", "0.00017976931348623157e312",
            "17976931348623157e292", "1e-400", "-1e-99999999999", "0e99999999999", "0.000e400",
            "1" + String(repeating: "0", count: 308), "0." + String(repeating: "0", count: 400) + "1e708",
        ]
        for text in accepted {
            let value = try JSONText(validating: text.utf8)
            #expect(value.string == text)
            #expect(value.doubleValue?.isFinite == true, "\(text)")
        }
        let refused = [
            "1.7976931348623159e308", "-1.7976931348623159e308", "1e309", "17976931348623159e292", "10e308",
            "1" + String(repeating: "0", count: 309), "0." + String(repeating: "0", count: 400) + "1e710",
            "2" + String(repeating: "0", count: 308), "0.1e99999999999",
        ]
        for text in refused {
            #expect(throws: JSONError(code: .invalidNumber, offset: 0), "\(text)") { try JSONText(validating: text.utf8) }
        }
    }
}
