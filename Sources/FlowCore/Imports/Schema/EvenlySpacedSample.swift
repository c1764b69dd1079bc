/// Chooses records from all over an object without unpacking much of it.
public struct EvenlySpacedSample: Hashable, Sendable {
    /// Records of one member.
    public struct Part: Hashable, Sendable {
        /// The member's number.
        public let member: Int
        /// How many records it has.
        public let records: Int
        /// How many of them to take.
        public let taken: Int

        /// Which of the member's records to take, counted from 0: evenly spread over it.
        public var positions: [Int] { (0..<self.taken).map { $0 * self.records / self.taken } }
    }

    /// In the order of the object.
    public let parts: [Part]

    /// Records to take in all.
    public var recordCount: Int { self.parts.reduce(0) { $0 + $1.taken } }

    /// - Parameters:
    ///   - records: how many to take; fewer if the chosen members do not have so many.
    ///   - members: from how many members at most.
    public init(of index: GzipMemberIndex, records: Int, members: Int) {
        let chosen = Self.members(of: index, members: members)
        var left = records
        var counts: [Int: Int] = [:]
        // From the smallest on, each gives its share of what is left, so that larger ones make up for what it lacks.
        for (number, member) in chosen.sorted(by: { index.members[$0].records < index.members[$1].records }).enumerated() {
            let share = (left + chosen.count - number - 1) / (chosen.count - number)
            let count = min(share, index.members[member].records)
            counts[member] = count
            left -= count
        }
        self.parts = chosen.compactMap { member in
            guard let count = counts[member], count > 0 else { return nil }
            return Part(member: member, records: index.members[member].records, taken: count)
        }
    }

    /// Numbers of members that have records, evenly spread over the object, the first and the last among them; all if there are no
    /// more than `members`.
    public static func members(of index: GzipMemberIndex, members: Int) -> [Int] {
        let filled = index.members.indices.filter { index.members[$0].records > 0 }
        guard filled.count > members else { return filled }
        guard members > 1 else { return Array(filled.prefix(max(members, 0))) }
        return (0..<members).map { filled[$0 * (filled.count - 1) / (members - 1)] }
    }
}
