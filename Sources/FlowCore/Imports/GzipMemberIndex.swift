/// The layout of an object, which is a series of gzip members with whole records: for each member its number of
/// records and its sizes. It locates records for ranged reads.
public struct GzipMemberIndex: Hashable, Sendable {
    /// The number of records and the sizes of one gzip member.
    public struct Member: Hashable, Sendable {
        public var records: Int
        /// Size in bytes in the object.
        public var compressed: Int
        /// Size in bytes after decompression.
        public var uncompressed: Int

        public init(records: Int, compressed: Int, uncompressed: Int) {
            self.records = records
            self.compressed = compressed
            self.uncompressed = uncompressed
        }
    }

    /// A run of consecutive members.
    public struct Run: Hashable, Sendable {
        /// Numbers of the members in the object, counted from 0.
        public var members: Range<Int>
        /// The bytes of the object that hold these members.
        public var bytes: Range<Int>
        /// Number of the first member's first record, counted from 0.
        public var firstRecord: Int
    }

    /// The members in the order in which they are in the object.
    public private(set) var members: [Member] = []
    /// Number of records in all members together.
    public private(set) var recordCount = 0
    /// Size of the object in bytes: the sum of all members.
    public private(set) var compressedBytes = 0
    /// Size of all members together in bytes after decompression.
    public private(set) var uncompressedBytes = 0

    public init() {}

    /// Adds a member that follows those in the index.
    public mutating func append(_ member: Member) {
        self.members.append(member)
        self.recordCount += member.records
        self.compressedBytes += member.compressed
        self.uncompressedBytes += member.uncompressed
    }

    /// The run of members that contains the records with these numbers, counted from 0. If these members together
    /// exceed `maximumBytes`, the run ends early and lacks the last of the records.
    /// - Parameter maximumBytes: maximum uncompressed bytes of the run. The first member is included even if it alone
    ///   has more.
    /// - Returns: `nil` if the object has none of these records.
    public func run(containing records: Range<Int>, maximumBytes limit: Int = .max) -> Run? {
        let wanted = records.clamped(to: 0..<self.recordCount)
        guard !wanted.isEmpty else { return nil }
        var (record, byte, uncompressed) = (0, 0, 0)
        var run: Run?
        for (number, member) in self.members.enumerated() {
            let after = record + member.records
            if after > wanted.lowerBound, record < wanted.upperBound, member.records > 0 {
                uncompressed += member.uncompressed
                if run != nil, uncompressed > limit { break }
                let begun = run ?? Run(members: number..<number, bytes: byte..<byte, firstRecord: record)
                run = Run(
                    members: begun.members.lowerBound..<(number + 1), bytes: begun.bytes.lowerBound..<(byte + member.compressed),
                    firstRecord: begun.firstRecord)
            }
            if record >= wanted.upperBound { break }
            record = after
            byte += member.compressed
        }
        return run
    }

    /// The run that consists of one member.
    /// - Parameter number: number of the member in the object, counted from 0. The member must exist.
    public func run(of number: Int) -> Run {
        let before = self.members[..<number]
        let start = before.reduce(0) { $0 + $1.compressed }
        return Run(
            members: number..<(number + 1), bytes: start..<(start + self.members[number].compressed),
            firstRecord: before.reduce(0) { $0 + $1.records })
    }

    // MARK: Form in the ledger

    /// The form in the ledger: `[[records, compressed bytes, uncompressed bytes], …]`.
    public var json: JSONText {
        var text: [UInt8] = [UInt8(ascii: "[")]
        for (number, member) in self.members.enumerated() {
            if number > 0 { text.append(UInt8(ascii: ",")) }
            text += Array("[\(member.records),\(member.compressed),\(member.uncompressed)]".utf8)
        }
        text.append(UInt8(ascii: "]"))
        return JSONText(trusted: text)
    }

    /// Reads an index from its form in the ledger.
    /// - Returns: `nil` if the JSON does not have the form of ``json``.
    public init?(_ json: JSONText) {
        guard json.isArray else { return nil }
        for element in json.elements {
            let numbers = element.elements.compactMap { $0.intValue.map { Int($0) } }
            guard numbers.count == 3, numbers.allSatisfy({ $0 >= 0 }) else { return nil }
            self.append(Member(records: numbers[0], compressed: numbers[1], uncompressed: numbers[2]))
        }
    }
}
