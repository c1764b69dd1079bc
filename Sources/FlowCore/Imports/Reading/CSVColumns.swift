/// The columns of a CSV file, as what stands before each of a row's values.
struct CSVColumns: Sendable {
    /// The names in the columns' order, as they are written in JSON, without quotes.
    private(set) var names: [ArraySlice<UInt8>] = []

    /// The name of what a row has beyond the columns.
    private(set) var extraName: ArraySlice<UInt8> = []

    /// `,"name":` of each column, and `,"_extra":[`. Some more bytes follow, so that a copy may read over the end.
    private(set) var keys: [UInt8] = []

    /// Where in ``keys`` each one begins, and where the last one ends.
    private var starts = [0]

    private var taken: Set<ArraySlice<UInt8>>
    private var numbers: [ArraySlice<UInt8>: Int] = [:]

    var count: Int { self.names.count }

    /// - Parameter header: the header's cells, as they are written in JSON, without quotes. An empty one becomes `column_3`, a
    ///   repeated one `name_2`, and `_extra` becomes `_extra_2` where a column has that name.
    init(header: [ArraySlice<UInt8>]) {
        self.taken = Set(header)
        var seen: Set<ArraySlice<UInt8>> = []
        for (index, cell) in header.enumerated() {
            let isNew = seen.insert(cell).inserted
            let name = cell.isEmpty ? self.free("column_\(index + 1)") : isNew ? cell : self.numbered(cell)
            self.names.append(name)
            self.addKey(name)
        }
        self.extraName = self.free("_extra")
        self.addKey(self.extraName, opening: "[")
        self.keys += repeatElement(0, count: PlainRun.overhang)
    }

    /// Where in ``keys`` the column's is; beyond the last column that of the rest.
    @inline(__always)
    func key(_ column: Int) -> Range<Int> { self.starts[column]..<self.starts[column + 1] }

    private mutating func addKey(_ name: ArraySlice<UInt8>, opening: String = "") {
        self.keys += Array(",\"".utf8) + name + Array("\":\(opening)".utf8)
        self.starts.append(self.keys.count)
    }

    private mutating func free(_ name: String) -> ArraySlice<UInt8> {
        let name = Array(name.utf8)[...]
        return self.taken.insert(name).inserted ? name : self.numbered(name)
    }

    private mutating func numbered(_ name: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        while true {
            let number = self.numbers[name, default: 1] + 1
            self.numbers[name] = number
            let numbered = name + Array("_\(number)".utf8)
            if self.taken.insert(numbered).inserted { return numbered }
        }
    }
}
