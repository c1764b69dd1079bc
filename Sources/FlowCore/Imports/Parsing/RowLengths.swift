/// How many rows of CSV have how many cells, which tells all that a summary says of columns.
struct RowLengths: Sendable {
    /// Decoded.
    private let names: [ArraySlice<UInt8>]
    private let extraName: ArraySlice<UInt8>
    /// By number of cells; the last one counts all rows that have more cells than there are columns.
    private var counts: [Int]

    init(_ columns: CSVColumns) {
        self.names = columns.names.map(Self.decoded)
        self.extraName = Self.decoded(columns.extraName)
        self.counts = Array(repeating: 0, count: columns.count + 2)
    }

    private static func decoded(_ name: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        let quoted = [JSONByte.quote] + name + [JSONByte.quote]
        return JSONStringDecoding.decoded(quoted, quoted.indices)
    }

    /// - Parameter cells: how many each row has.
    mutating func add(_ cells: [Int]) {
        for count in cells { self.counts[min(count, self.counts.count - 1)] += 1 }
    }

    /// The columns, and what rows have beyond them if one has.
    var fields: [FieldSummary.Counted] {
        let total = self.counts.reduce(0, +)
        var shorter = self.counts[0]
        var fields: [FieldSummary.Counted] = []
        for (column, name) in self.names.enumerated() {
            // Rows with as many cells as there are columns before this one, or fewer, lack it.
            var counts = TypeCounts()
            counts.add(.null, shorter)
            counts.add(.string, total - shorter)
            fields.append((name, counts))
            shorter += self.counts[column + 1]
        }
        if let longer = self.counts.last, longer > 0 {
            var counts = TypeCounts()
            counts.add(.array, longer)
            fields.append((self.extraName, counts))
        }
        return fields
    }
}
