import FlowCore

/// A position between two rows of an import, in the order of ``RecordSQL``.
enum RowPosition: Hashable, Sendable {
    /// Directly after this row, which has a number; `nil`: before the first row of the import.
    case numbered(after: Numbered?)
    /// Directly after this row, which has a time but no number; `nil`: before the first such row. These rows follow all
    /// rows that have a number, and are ordered by time.
    case dated(after: Dated?)
    /// Directly after the row with this id, which has neither number nor time; `nil`: before the first such row. These
    /// rows are the last of the import, and are ordered by id.
    case undated(after: String?)

    /// Sort key of a row with a number. Time and id order rows with the same number; those without a time follow the
    /// others.
    struct Numbered: Hashable, Sendable {
        var number: Int64
        /// `nil` if the row has no time.
        var time: String?
        var id: String
    }

    /// Sort key of a row without a number. The id orders rows with the same time.
    struct Dated: Hashable, Sendable {
        var time: String
        var id: String
    }

    /// The position before all rows.
    static let start = RowPosition.numbered(after: nil)

    /// The position before the first row of the next kind (numbered, dated, undated); `nil` for the last kind.
    var nextKind: RowPosition? {
        switch self {
        case .numbered: .dated(after: nil)
        case .dated: .undated(after: nil)
        case .undated: nil
        }
    }

    /// The position after a row of ``RecordSQL/page(_:skips:)``.
    func after(_ row: ResultRow) -> RowPosition {
        let id = row.text(4) ?? ""
        switch self {
        case .numbered: return .numbered(after: Numbered(number: row.int64(2) ?? 0, time: row.text(3), id: id))
        case .dated: return .dated(after: Dated(time: row.text(3) ?? "-infinity", id: id))
        case .undated: return .undated(after: id)
        }
    }

    /// The SQL conditions for the rows after this position: each row meets exactly one of them, and each condition is one
    /// range of the index of rows in their order. Adds their parameters to the list.
    func conditions(_ parameters: inout ParameterList) -> [String] {
        let first = parameters.count + 1
        switch self {
        case .numbered(nil): return ["r.record_index IS NOT NULL"]
        case .numbered(let position?):
            // Row comparisons alone would leave out rows without a time: a comparison with NULL is not true.
            parameters.add(position.number)
            let sameNumber = "r.record_index = $\(first) AND"
            guard let time = position.time else {
                parameters.add(position.id)
                return [
                    "\(sameNumber) r.created_at IS NULL AND r.id > hub_as_record_id($\(first + 1))", "r.record_index > $\(first)",
                ]
            }
            parameters.add(time)
            parameters.add(position.id)
            return [
                """
                \(sameNumber) (r.created_at, r.id) > (hub_as_record_time($\(first + 1)), hub_as_record_id($\(first + 2)))
                """, "\(sameNumber) r.created_at IS NULL", "r.record_index > $\(first)",
            ]
        case .dated(nil): return ["r.record_index IS NULL AND r.created_at IS NOT NULL"]
        case .dated(let position?):
            parameters.add(position.time)
            parameters.add(position.id)
            return [
                """
                r.record_index IS NULL
                    AND (r.created_at, r.id) > (hub_as_record_time($\(first)), hub_as_record_id($\(first + 1)))
                """
            ]
        case .undated(nil): return ["r.record_index IS NULL AND r.created_at IS NULL"]
        case .undated(let id?):
            parameters.add(id)
            return ["r.record_index IS NULL AND r.created_at IS NULL AND r.id > hub_as_record_id($\(first))"]
        }
    }

    // MARK: Bookmark

    /// The position as text. Ids come last, because those of the legacy service may contain any character.
    var bookmark: RecordBookmark {
        switch self {
        case .numbered(nil): RecordBookmark(rawValue: "n")
        case .numbered(let position?): RecordBookmark(rawValue: "n|\(position.number)|\(position.time ?? "")|\(position.id)")
        case .dated(nil): RecordBookmark(rawValue: "d")
        case .dated(let position?): RecordBookmark(rawValue: "d|\(position.time)|\(position.id)")
        case .undated(nil): RecordBookmark(rawValue: "u")
        case .undated(let id?): RecordBookmark(rawValue: "u|\(id)")
        }
    }

    /// Parses a position from its text; `nil` if the text has no valid form.
    init?(_ bookmark: RecordBookmark) {
        let parts = bookmark.rawValue.split(separator: "|", maxSplits: 1, omittingEmptySubsequences: false)
        let rest = parts.count > 1 ? parts[1] : nil
        switch parts[0] {
        case "n":
            guard let rest else {
                self = .start
                return
            }
            let fields = rest.split(separator: "|", maxSplits: 2, omittingEmptySubsequences: false).map(String.init)
            guard fields.count == 3, let number = Int64(fields[0]) else { return nil }
            self = .numbered(after: Numbered(number: number, time: fields[1].isEmpty ? nil : fields[1], id: fields[2]))
        case "d":
            let fields = rest?.split(separator: "|", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            guard fields == nil || fields?.count == 2 else { return nil }
            self = .dated(after: fields.map { Dated(time: $0[0], id: $0[1]) })
        case "u": self = .undated(after: rest.map(String.init))
        default: return nil
        }
    }
}
