/// The columns of a CSV file, as what stands before each of a row's values.
struct CSVColumns: Sendable {
    /// The names in the columns' order, as they are written in JSON, without quotes.
    let names: [ArraySlice<UInt8>]

    /// The name of what a row has beyond the columns.
    let extraName: ArraySlice<UInt8>

    /// `,"name":` of each column, and `,"_extra":[`. Some more bytes follow, so that a copy may read over the end.
    let keys: [UInt8]

    /// Where in ``keys`` each one begins, and where the last one ends.
    private let starts: [Int]

    var count: Int { self.names.count }

    /// - Parameter header: the header's cells, as they are written in JSON, without quotes. An empty one becomes `column_3`, a
    ///   repeated one `name_2`, and `_extra` becomes `_extra_2` where a column has that name.
    init(header: [ArraySlice<UInt8>]) {
        var unique = UniqueNames(taken: Set(header))
        var seen: Set<ArraySlice<UInt8>> = []
        self.names = header.enumerated().map { index, cell in
            if cell.isEmpty { return unique.free("column_\(index + 1)") }
            return seen.insert(cell).inserted ? cell : unique.numbered(cell)
        }
        self.extraName = unique.free("_extra")
        var keys: [UInt8] = []
        var starts = [0]
        for (index, name) in (self.names + [self.extraName]).enumerated() {
            keys += Array(",\"".utf8) + name + Array((index < header.count ? "\":" : "\":[").utf8)
            starts.append(keys.count)
        }
        self.keys = keys + [UInt8](repeating: 0, count: PlainRun.overhang)
        self.starts = starts
    }

    /// Where in ``keys`` the column's is; beyond the last column that of the rest.
    @inline(__always)
    func key(_ column: Int) -> Range<Int> { self.starts[column]..<self.starts[column + 1] }
}

/// Gives out names that nothing has yet.
private struct UniqueNames {
    var taken: Set<ArraySlice<UInt8>>
    private var numbers: [ArraySlice<UInt8>: Int] = [:]

    init(taken: Set<ArraySlice<UInt8>>) { self.taken = taken }

    /// The name itself, or a numbered one.
    mutating func free(_ name: String) -> ArraySlice<UInt8> {
        let name = Array(name.utf8)[...]
        return self.taken.insert(name).inserted ? name : self.numbered(name)
    }

    mutating func numbered(_ name: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        while true {
            let number = self.numbers[name, default: 1] + 1
            self.numbers[name] = number
            let numbered = name + Array("_\(number)".utf8)
            if self.taken.insert(numbered).inserted { return numbered }
        }
    }
}
