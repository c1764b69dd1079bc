/// Selects records spread evenly over an object, so that only a few gzip members have to be decompressed.
public struct EvenlySpacedSample: Hashable, Sendable {
    /// The records that are selected from one gzip member.
    public struct Part: Hashable, Sendable {
        /// Number of the member in the object, counted from 0.
        public let member: Int
        /// Number of records in the member.
        public let records: Int
        /// Number of records that are selected from the member.
        public let sampled: Int

        /// Numbers of the selected records, counted from 0 within the member and evenly spaced.
        public var positions: [Int] { (0..<self.sampled).map { $0 * self.records / self.sampled } }
    }

    /// The gzip members to read, with the records selected from each, in the order of the object.
    public let parts: [Part]

    /// Number of selected records in total.
    public var recordCount: Int { self.parts.reduce(0) { $0 + $1.sampled } }

    /// Selects records of an object.
    /// - Parameters:
    ///   - records: number of records to select. Fewer are selected if the chosen gzip members have fewer.
    ///   - members: maximum number of gzip members from which records are selected.
    public init(of index: GzipMemberIndex, records: Int, members: Int) {
        let chosen = Self.members(of: index, members: members)
        var remaining = records
        var counts: [Int: Int] = [:]
        // From the member with the fewest records to the one with the most, each contributes an equal share of the
        // records that remain to be selected. So members with many records make up for those with less than a share.
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

    /// Numbers of at most `members` gzip members that have records, evenly spaced over the object. They include the
    /// first and the last one if they are two or more.
    public static func members(of index: GzipMemberIndex, members: Int) -> [Int] {
        let filled = index.members.indices.filter { index.members[$0].records > 0 }
        guard filled.count > members else { return filled }
        guard members > 1 else { return Array(filled.prefix(max(members, 0))) }
        return (0..<members).map { filled[$0 * (filled.count - 1) / (members - 1)] }
    }
}
