import FlowCore

/// A place among the rows of an import, in their order.
enum RowPosition: Hashable, Sendable {
    /// Behind a row with a number; before all of them: `nil`.
    case numbered(after: Numbered?)
    /// Behind a row without a number.
    case dated(after: Dated?)
    /// Behind a row without number and time.
    case undated(after: String?)

    struct Numbered: Hashable, Sendable {
        var number: Int64
        var time: String
        var id: String
    }

    struct Dated: Hashable, Sendable {
        var time: String
        var id: String
    }

    static let start = RowPosition.numbered(after: nil)

    /// Behind everything of this kind; `nil` at the end of all.
    var nextKind: RowPosition? {
        switch self {
        case .numbered: .dated(after: nil)
        case .dated: .undated(after: nil)
        case .undated: nil
        }
    }

    /// Behind a row of this kind, of ``RecordSQL/page(_:skips:)``.
    func behind(_ row: ResultRow) -> RowPosition {
        let id = row.text(4) ?? ""
        switch self {
        // Where there is no time the number alone decides.
        case .numbered: return .numbered(after: Numbered(number: row.int64(2) ?? 0, time: row.text(3) ?? "-infinity", id: id))
        case .dated: return .dated(after: Dated(time: row.text(3) ?? "-infinity", id: id))
        case .undated: return .undated(after: id)
        }
    }

    /// The rows behind it.
    func condition(_ parameters: inout ParameterList) -> String {
        let first = parameters.count + 1
        switch self {
        case .numbered(nil): return "r.record_index IS NOT NULL"
        case .numbered(let place?):
            parameters.add(place.number)
            parameters.add(place.time)
            parameters.add(place.id)
            return """
                (r.record_index, r.created_at, r.id)
                    > ($\(first), hub_as_record_time($\(first + 1)), hub_as_record_id($\(first + 2)))
                """
        case .dated(nil): return "r.record_index IS NULL AND r.created_at IS NOT NULL"
        case .dated(let place?):
            parameters.add(place.time)
            parameters.add(place.id)
            return """
                r.record_index IS NULL
                    AND (r.created_at, r.id) > (hub_as_record_time($\(first)), hub_as_record_id($\(first + 1)))
                """
        case .undated(nil): return "r.record_index IS NULL AND r.created_at IS NULL"
        case .undated(let id?):
            parameters.add(id)
            return "r.record_index IS NULL AND r.created_at IS NULL AND r.id > hub_as_record_id($\(first))"
        }
    }

    // MARK: Bookmark

    /// Ids come last: those of an older service may be any text.
    var bookmark: RecordBookmark {
        switch self {
        case .numbered(nil): RecordBookmark(rawValue: "n")
        case .numbered(let place?): RecordBookmark(rawValue: "n|\(place.number)|\(place.time)|\(place.id)")
        case .dated(nil): RecordBookmark(rawValue: "d")
        case .dated(let place?): RecordBookmark(rawValue: "d|\(place.time)|\(place.id)")
        case .undated(nil): RecordBookmark(rawValue: "u")
        case .undated(let id?): RecordBookmark(rawValue: "u|\(id)")
        }
    }

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
            self = .numbered(after: Numbered(number: number, time: fields[1], id: fields[2]))
        case "d":
            let fields = rest?.split(separator: "|", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            guard fields == nil || fields?.count == 2 else { return nil }
            self = .dated(after: fields.map { Dated(time: $0[0], id: $0[1]) })
        case "u": self = .undated(after: rest.map(String.init))
        default: return nil
        }
    }
}
