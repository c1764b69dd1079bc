import FlowCore

/// A table for the terminal. Each column is as wide as its widest cell.
struct TextTable {
    let titles: [String]
    private var rows: [[String]] = []

    init(_ titles: [String]) { self.titles = titles }

    /// Adds a row.
    /// - Parameter cells: one for each title, free of control characters.
    mutating func add(_ cells: [String]) { self.rows.append(cells) }

    /// Formats the table with a row of titles.
    /// - Parameter paint: colors a cell. It gets the column's index, the cell, and the cell padded to the column's width,
    ///   and returns the latter with colors.
    func text(_ palette: Palette, paint: (_ column: Int, _ cell: String, _ padded: String) -> String = { $2 }) -> String {
        let widths = self.titles.indices.map { column in
            ([self.titles] + self.rows).map { column < $0.count ? $0[column].count : 0 }.max() ?? 0
        }
        let last = self.titles.count - 1
        /// One row of the table.
        func line(_ cells: [String], _ paint: (Int, String, String) -> String) -> String {
            cells.enumerated().map { column, cell in
                paint(column, cell, column == last ? cell : cell.padded(to: widths[column]))
            }.joined(separator: "  ")
        }
        let head = line(self.titles) { palette.bold($2) }
        return ([head] + self.rows.map { line($0, paint) }).joined(separator: "\n")
    }
}

extension JSONText {
    /// A JSON member as a table cell, free of control characters; `-` if it is missing or `null`.
    func cell(_ name: String) -> String {
        guard let value = self.member(name), !value.isNull else { return "-" }
        return Terminal.sanitized(value.stringValue ?? value.string)
    }
}
