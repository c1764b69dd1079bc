/// The columns of a CSV file, with the text that precedes each value in a record.
struct CSVColumns: Sendable {
    /// The names of the columns in order, as written in JSON, without quotes.
    let names: [ArraySlice<UInt8>]

    /// Name of the member for cells beyond the last column.
    let extraName: ArraySlice<UInt8>

    /// `,"name":` for each column, then `,"_extra":[`. Padding follows, so that a copy in blocks of 16 bytes may read
    /// past the last key.
    let keys: [UInt8]

    /// Start of each key in ``keys``, and the end of the last one.
    private let starts: [Int]

    /// Number of columns.
    var count: Int { self.names.count }

    /// Makes the columns from a header, with unique names. An empty name becomes for example `column_3`, and a repeated
    /// one `name_2`. If a column is named `_extra`, the member for extra cells is named `_extra_2`.
    /// - Parameter header: the cells of the header, as written in JSON, without quotes.
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

    /// Range in ``keys`` of the key of a column, counted from 0. For ``count``, it is the key of the member for extra
    /// cells.
    @inline(__always)
    func key(_ column: Int) -> Range<Int> { self.starts[column]..<self.starts[column + 1] }
}

/// Generates names that are not in use.
private struct UniqueNames {
    /// The names in use.
    var taken: Set<ArraySlice<UInt8>>
    /// The number that was given last to each repeated name.
    private var numbers: [ArraySlice<UInt8>: Int] = [:]

    init(taken: Set<ArraySlice<UInt8>>) { self.taken = taken }

    /// The name itself if it is not in use, else the name with a number. The result is in use from now on.
    mutating func free(_ name: String) -> ArraySlice<UInt8> {
        let name = Array(name.utf8)[...]
        return self.taken.insert(name).inserted ? name : self.numbered(name)
    }

    /// The name with the lowest free number from 2 on, such as `name_2`. The result is in use from now on.
    mutating func numbered(_ name: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        while true {
            let number = self.numbers[name, default: 1] + 1
            self.numbers[name] = number
            let numbered = name + Array("_\(number)".utf8)
            if self.taken.insert(numbered).inserted { return numbered }
        }
    }
}
