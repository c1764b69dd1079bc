/// Where in an object which records are: an object is a series of gzip members, each with whole records.
public struct GzipMemberIndex: Hashable, Sendable {
    /// One member, in the order of the object.
    public struct Member: Hashable, Sendable {
        public var records: Int
        /// Packed and unpacked bytes.
        public var packed: Int
        public var unpacked: Int

        public init(records: Int, packed: Int, unpacked: Int) {
            self.records = records
            self.packed = packed
            self.unpacked = unpacked
        }
    }

    /// Consecutive members.
    public struct Run: Hashable, Sendable {
        public var members: Range<Int>
        /// Bytes of the object.
        public var bytes: Range<Int>
        /// The number of the first member's first record.
        public var firstRecord: Int
    }

    public private(set) var members: [Member] = []
    public private(set) var recordCount = 0
    public private(set) var packedBytes = 0
    public private(set) var unpackedBytes = 0

    public init() {}

    public mutating func append(_ member: Member) {
        self.members.append(member)
        self.recordCount += member.records
        self.packedBytes += member.packed
        self.unpackedBytes += member.unpacked
    }

    /// The members that hold these records; `nil` if there are none of them.
    /// - Parameter limit: unpacked bytes that they may have in all. The first of them is among them whatever it has.
    public func run(holding records: Range<Int>, upTo limit: Int = .max) -> Run? {
        let wanted = records.clamped(to: 0..<self.recordCount)
        guard !wanted.isEmpty else { return nil }
        var (record, byte, unpacked) = (0, 0, 0)
        var run: Run?
        for (number, member) in self.members.enumerated() {
            let after = record + member.records
            if after > wanted.lowerBound, record < wanted.upperBound, member.records > 0 {
                unpacked += member.unpacked
                if run != nil, unpacked > limit { break }
                let begun = run ?? Run(members: number..<number, bytes: byte..<byte, firstRecord: record)
                run = Run(
                    members: begun.members.lowerBound..<(number + 1), bytes: begun.bytes.lowerBound..<(byte + member.packed),
                    firstRecord: begun.firstRecord)
            }
            if record >= wanted.upperBound { break }
            record = after
            byte += member.packed
        }
        return run
    }

    /// The member of this number by itself.
    public func run(of number: Int) -> Run {
        let before = self.members[..<number]
        let start = before.reduce(0) { $0 + $1.packed }
        return Run(
            members: number..<(number + 1), bytes: start..<(start + self.members[number].packed),
            firstRecord: before.reduce(0) { $0 + $1.records })
    }

    // MARK: Ledger

    /// `[[records, packed, unpacked], …]`
    public var json: JSONText {
        var text: [UInt8] = [UInt8(ascii: "[")]
        for (number, member) in self.members.enumerated() {
            if number > 0 { text.append(UInt8(ascii: ",")) }
            text += Array("[\(member.records),\(member.packed),\(member.unpacked)]".utf8)
        }
        text.append(UInt8(ascii: "]"))
        return JSONText(trusted: text)
    }

    public init?(_ json: JSONText) {
        guard json.isArray else { return nil }
        for element in json.elements {
            let numbers = element.elements.compactMap { $0.intValue.map { Int($0) } }
            guard numbers.count == 3, numbers.allSatisfy({ $0 >= 0 }) else { return nil }
            self.append(Member(records: numbers[0], packed: numbers[1], unpacked: numbers[2]))
        }
    }
}
