/// Selects records spread evenly over an object, so that only a few gzip members have to be decompressed.
public struct EvenlySpacedSample: Hashable, Sendable {
    /// The records to take from one gzip member.
    public struct Part: Hashable, Sendable {
        /// Number of the member in the object, counted from 0.
        public let member: Int
        /// Number of records in the member.
        public let records: Int
        /// Number of records to take from the member.
        public let sampled: Int

        /// Numbers of the records to take, counted from 0 within the member and evenly spaced.
        public var positions: [Int] { (0..<self.sampled).map { $0 * self.records / self.sampled } }
    }

    /// In the order of the object.
    public let parts: [Part]

    /// Number of records to take in total.
    public var recordCount: Int { self.parts.reduce(0) { $0 + $1.sampled } }

    /// - Parameters:
    ///   - records: number of records to take; fewer if the selected members have fewer.
    ///   - members: maximum number of members to take them from.
    public init(of index: GzipMemberIndex, records: Int, members: Int) {
        let chosen = Self.members(of: index, members: members)
        var remaining = records
        var counts: [Int: Int] = [:]
        // From the smallest member to the largest, each gets an equal share of the rest, so that larger members make
        // up for smaller ones.
        for (number, member) in chosen.sorted(by: { index.members[$0].records < index.members[$1].records }).enumerated() {
            let share = (remaining + chosen.count - number - 1) / (chosen.count - number)
            let count = min(share, index.members[member].records)
            counts[member] = count
            remaining -= count
        }
        self.parts = chosen.compactMap { member in
            guard let count = counts[member], count > 0 else { return nil }
            return Part(member: member, records: index.members[member].records, sampled: count)
        }
    }

    /// Numbers of members that have records, evenly spaced over the object, including the first and the last one. All
    /// of them if there are at most `members`.
    public static func members(of index: GzipMemberIndex, members: Int) -> [Int] {
        let filled = index.members.indices.filter { index.members[$0].records > 0 }
        guard filled.count > members else { return filled }
        guard members > 1 else { return Array(filled.prefix(max(members, 0))) }
        return (0..<members).map { filled[$0 * (filled.count - 1) / (members - 1)] }
    }
}
