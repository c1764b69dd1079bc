import FlowCore

/// A schema analysis as a table for the terminal.
enum SchemaTable {
    private static let cellWidth = 32

    /// The table with one row per field.
    /// - Parameter width: columns of the terminal; `nil`: lines are not truncated.
    static func text(_ analysis: JSONText, _ palette: Palette, width: Int?) -> String {
        var table = TextTable(["FIELD", "TYPES", "NULLS", "DISTINCT", "PATTERN", "EXAMPLES"])
        for (name, field) in analysis.member("field_info")?.members ?? [] {
            let examples = field.member("examples")?.elements.map { Self.shown($0) } ?? []
            table.add([
                Terminal.sanitized(name).truncated(to: Self.cellWidth),
                Self.shares(field.member("types")).truncated(to: Self.cellWidth),
                Self.nulls(field), Self.distinct(field),
                Self.shares(field.member("strings")?.member("patterns")).truncated(to: Self.cellWidth),
                examples.isEmpty ? "-" : examples.joined(separator: ", "),
            ])
        }
        let text = table.text(palette)
        guard let width else { return text }
        return text.split(separator: "\n").map { String($0).truncated(to: max(width, Self.cellWidth)) }.joined(separator: "\n")
    }

    /// The number of records that the analysis is based on.
    static func note(_ analysis: JSONText) -> String {
        let analyzed = Int(analysis.member("records_analyzed")?.intValue ?? 0)
        let total = Int(analysis.member("total_records")?.intValue ?? 0)
        return analyzed < total
            ? "based on a sample of \(HumanReadable.count(analyzed)) of \(HumanReadable.count(total)) records"
            : "based on all \(HumanReadable.count(total)) records"
    }

    /// The share of records in which the field is null or missing.
    private static func nulls(_ field: JSONText) -> String {
        guard let present = field.member("present")?.intValue, let missing = field.member("missing")?.intValue,
            let nulls = field.member("nulls")?.intValue, present + missing > 0
        else { return "-" }
        return Self.percent(Double(nulls + missing) / Double(present + missing))
    }

    /// The number of distinct values; `~` marks an estimate.
    private static func distinct(_ field: JSONText) -> String {
        guard let count = field.member("distinct")?.intValue else { return "-" }
        return (field.member("distinct_is_exact")?.boolValue == false ? "~" : "") + HumanReadable.count(Int(count))
    }

    /// Shares as text, the most frequent first: `string 99%, null 1%`. A share of 100% is left out.
    private static func shares(_ value: JSONText?) -> String {
        guard let value, value.isObject else { return "-" }
        let all = value.members.map { (name: Terminal.sanitized($0.key), share: $0.value.member("share")?.doubleValue) }
        let sorted = all.sorted { ($1.share ?? 0, $0.name) < ($0.share ?? 0, $1.name) }
        let text = sorted.map { entry in
            guard let share = entry.share, share < 1 else { return entry.name }
            return "\(entry.name) \(Self.percent(share))"
        }
        return text.isEmpty ? "-" : text.joined(separator: ", ")
    }

    /// A share as a percentage. Never rounds a share above 0 to 0%, nor one below 1 to 100%.
    private static func percent(_ share: Double) -> String {
        switch share {
        case ...0: "0%"
        case ..<0.01: "<1%"
        case 0.99..<1: ">99%"
        default: "\(Int((min(share, 1) * 100).rounded()))%"
        }
    }

    /// An example value as text, truncated to the width of a cell.
    private static func shown(_ value: JSONText) -> String {
        Terminal.sanitized(value.stringValue ?? value.string).truncated(to: Self.cellWidth)
    }
}
