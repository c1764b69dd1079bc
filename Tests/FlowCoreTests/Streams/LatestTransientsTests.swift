import FlowCore
import Testing

@Suite struct LatestTransientsTests {
    private static func event(_ type: String, _ length: Int) -> TransientEvent {
        TransientEvent(
            type: Sample.type(type), data: Sample.json("\"\(String(repeating: "x", count: length - 2))\""),
            createdAt: Timestamp(milliseconds: 0))
    }

    private static func types(_ latest: LatestTransients<Int>) -> [String] { latest.entries.map(\.event.type.rawValue) }

    @Test func latestOfEachTypeStaysWithinLimits() {
        var limits = TransientLimits()
        limits.eventBytes = 50
        limits.flowBytes = 100
        limits.types = 4
        var latest = LatestTransients<Int>()
        for (number, type) in ["a", "b", "a"].enumerated() {
            latest.insert(Self.event(type, 10), at: Version(number + 1), number, limits: limits)
        }
        #expect(Self.types(latest) == ["b", "a"] && latest.entries.map(\.attachment) == [1, 2] && latest.bytes == 20)
        latest.insert(Self.event("c", 51), at: 4, 3, limits: limits)
        latest.insert(Self.event("b", 51), at: 4, 4, limits: limits)
        #expect(Self.types(latest) == ["a"], "one that is too large is not kept, nor is the one before it")
        for type in ["c", "d", "e", "f"] { latest.insert(Self.event(type, 10), at: 5, 0, limits: limits) }
        #expect(Self.types(latest) == ["c", "d", "e", "f"], "as many types as may be")
        latest.insert(Self.event("g", 50), at: 6, 0, limits: limits)
        latest.insert(Self.event("h", 50), at: 7, 0, limits: limits)
        #expect(Self.types(latest) == ["g", "h"] && latest.bytes == 100, "as many bytes as may be")
        latest.removeAll(below: 7)
        #expect(Self.types(latest) == ["h"] && latest.bytes == 50)
    }
}
