/// Counts JSON values by type.
struct TypeCounts: Sendable {
    /// The types of JSON values.
    enum Kind: Int, Hashable, Sendable, CaseIterable {
        case string
        case number
        case boolean
        case object
        case array
        case null

        /// - Parameter byte: the first byte of a value.
        @inline(__always)
        init(startingWith byte: UInt8) {
            self =
                switch byte {
                case JSONByte.quote: .string
                case UInt8(ascii: "{"): .object
                case UInt8(ascii: "["): .array
                case UInt8(ascii: "t"), UInt8(ascii: "f"): .boolean
                case UInt8(ascii: "n"): .null
                default: .number
                }
        }

        /// The name in the JSON of the counts.
        var name: String { "\(self)" }
    }

    /// Number of values of each kind, indexed by its raw value.
    private var counts: InlineArray<6, Int> = .init(repeating: 0)

    /// Number of values of a kind.
    subscript(kind: Kind) -> Int { self.counts[kind.rawValue] }

    /// Number of all values.
    var total: Int { Kind.allCases.reduce(0) { $0 + self[$1] } }

    /// Adds `count` values of a kind.
    @inline(__always)
    mutating func add(_ kind: Kind, _ count: Int = 1) { self.counts[kind.rawValue] &+= count }

    /// Adds all values that another instance has counted.
    mutating func add(_ other: TypeCounts) {
        for kind in Kind.allCases { self.add(kind, other[kind]) }
    }

    /// Subtracts one value of a kind, which must have been added.
    @inline(__always)
    mutating func remove(_ kind: Kind) { self.counts[kind.rawValue] &-= 1 }

    /// Writes the counts as an object: `{"count":2,"nulls":1,"types":{"string":1,"null":1}}`.
    func write(to writer: inout JSONWriter) {
        writer.beginObject()
        writer.key("count")
        writer.value(self.total)
        writer.key("nulls")
        writer.value(self[.null])
        writer.key("types")
        writer.beginObject()
        for kind in Kind.allCases where self[kind] > 0 {
            writer.key(kind.name)
            writer.value(self[kind])
        }
        writer.endObject()
        writer.endObject()
    }
}
