/// Counts CSV rows by their number of cells. The summary of all columns follows from these counts.
struct RowLengths: Sendable {
    /// The decoded names of the columns.
    private let names: [ArraySlice<UInt8>]
    /// The decoded name of the member for extra cells.
    private let extraName: ArraySlice<UInt8>
    /// Number of rows for each number of cells. The last element counts all rows with more cells than there are
    /// columns.
    private var counts: [Int]

    init(_ columns: CSVColumns) {
        self.names = columns.names.map(Self.decoded)
        self.extraName = Self.decoded(columns.extraName)
        self.counts = Array(repeating: 0, count: columns.count + 2)
    }

    /// A name without JSON escapes.
    private static func decoded(_ name: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        let quoted = [JSONByte.quote] + name + [JSONByte.quote]
        return JSONStringDecoding.decoded(quoted, quoted.indices)
    }

    /// Counts rows.
    /// - Parameter cells: number of cells of each row.
    mutating func add(_ cells: [Int]) {
        for count in cells { self.counts[min(count, self.counts.count - 1)] += 1 }
    }

    /// The counts of each column, and of the extra cells if a row has any.
    var fields: [FieldSummary.Counted] {
        let total = self.counts.reduce(0, +)
        var shorter = self.counts[0]
        var fields: [FieldSummary.Counted] = []
        for (column, name) in self.names.enumerated() {
            // A column is missing in rows with at most as many cells as there are columns before it.
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
