import FlowCore
import Testing

@Suite struct EvenlySpacedSampleTests {
    private static func index(_ records: [Int]) -> GzipMemberIndex {
        var index = GzipMemberIndex()
        for count in records { index.append(.init(records: count, compressed: 10, uncompressed: 100)) }
        return index
    }

    @Test func spreadsGzipMembersOverObject() {
        let index = Self.index([Int](repeating: 10, count: 101))
        #expect(EvenlySpacedSample.members(of: index, members: 5) == [0, 25, 50, 75, 100])
        #expect(EvenlySpacedSample.members(of: index, members: 2) == [0, 100])
        #expect(EvenlySpacedSample.members(of: index, members: 1) == [0])
        #expect(EvenlySpacedSample.members(of: index, members: 0) == [])
        #expect(EvenlySpacedSample.members(of: index, members: 101) == Array(0...100))
        #expect(EvenlySpacedSample.members(of: index, members: 500) == Array(0...100))
        let many = EvenlySpacedSample.members(of: index, members: 50)
        #expect(many.count == 50 && Set(many).count == 50)
        #expect(many.first == 0 && many.last == 100)
        #expect(zip(many, many.dropFirst()).allSatisfy { (2...3).contains($1 - $0) })
    }

    @Test func omitsEmptyGzipMembers() {
        #expect(EvenlySpacedSample.members(of: Self.index([0, 1, 0, 2, 0]), members: 50) == [1, 3])
        #expect(EvenlySpacedSample(of: Self.index([]), records: 10, members: 10).parts.isEmpty)
    }

    @Test(
        arguments: [
            ([1_000, 1_000, 1_000], 300, [100, 100, 100]), ([1_000, 1_000, 1_000], 301, [101, 100, 100]),
            ([10, 1_000, 20], 300, [10, 270, 20]), ([10, 20, 30], 5_000, [10, 20, 30]), ([1_000, 10, 1_000], 2, [1, 0, 1]),
            ([5], 3, [3]), ([5, 5], 0, [0, 0]),
        ] as [([Int], Int, [Int])])
    func distributesRecordsOverGzipMembers(_ members: [Int], _ records: Int, _ expected: [Int]) {
        let sample = EvenlySpacedSample(of: Self.index(members), records: records, members: 50)
        var sampled = [Int](repeating: 0, count: members.count)
        for part in sample.parts {
            sampled[part.member] = part.sampled
            #expect(part.records == members[part.member])
        }
        #expect(sampled.reduce(0, +) == expected.reduce(0, +))
        #expect(sample.recordCount == expected.reduce(0, +))
        #expect(sampled.sorted() == expected.sorted())
    }

    @Test func spreadsPositionsOverGzipMember() {
        let parts = EvenlySpacedSample(of: Self.index([10, 1_000]), records: 110, members: 2).parts
        #expect(parts.first?.positions == Array(0..<10))
        #expect(parts.last?.positions == (0..<100).map { $0 * 10 })
        let uneven = EvenlySpacedSample(of: Self.index([7]), records: 3, members: 1).parts
        #expect(uneven.first?.positions == [0, 2, 4])
    }
}
