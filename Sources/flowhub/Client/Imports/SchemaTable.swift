import FlowCore

/// A schema analysis for the terminal.
enum SchemaTable {
    private static let cellWidth = 32

    /// - Parameter width: columns of the terminal; `nil`: as long as it takes.
    static func text(_ analysis: JSONText, _ palette: Palette, width: Int?) -> String {
        var table = TextTable(["FIELD", "TYPES", "NULLS", "DISTINCT", "PATTERN", "EXAMPLES"])
        for (name, field) in analysis.member("field_info")?.members ?? [] {
            let examples = field.member("examples")?.elements.map { Self.shown($0) } ?? []
            table.add([
                Terminal.harmless(name).cut(to: Self.cellWidth), Self.shares(field.member("types")).cut(to: Self.cellWidth),
                Self.nulls(field), Self.distinct(field),
                Self.shares(field.member("strings")?.member("patterns")).cut(to: Self.cellWidth),
                examples.isEmpty ? "-" : examples.joined(separator: ", "),
            ])
        }
        let text = table.text(palette)
        guard let width else { return text }
        return text.split(separator: "\n").map { String($0).cut(to: max(width, Self.cellWidth)) }.joined(separator: "\n")
    }

    /// How much it was judged by.
    static func note(_ analysis: JSONText) -> String {
        let analyzed = Int(analysis.member("records_analyzed")?.intValue ?? 0)
        let total = Int(analysis.member("total_records")?.intValue ?? 0)
        return analyzed < total
            ? "by a sample of \(HumanReadable.count(analyzed)) of \(HumanReadable.count(total)) records"
            : "by all \(HumanReadable.count(total)) records"
    }

    /// The share of records in which it is null or missing.
    private static func nulls(_ field: JSONText) -> String {
        guard let present = field.member("present")?.intValue, let missing = field.member("missing")?.intValue,
            let nulls = field.member("nulls")?.intValue, present + missing > 0
        else { return "-" }
        return Self.percent(Double(nulls + missing) / Double(present + missing))
    }

    /// `~` before what is an estimate.
    private static func distinct(_ field: JSONText) -> String {
        guard let count = field.member("distinct")?.intValue else { return "-" }
        return (field.member("distinct_is_exact")?.boolValue == false ? "~" : "") + HumanReadable.count(Int(count))
    }

    /// `string 99%, null 1%`, the most frequent first; names alone where that is all there is.
    private static func shares(_ value: JSONText?) -> String {
        guard let value, value.isObject else { return "-" }
        let all = value.members.map { (name: Terminal.harmless($0.key), share: $0.value.member("share")?.doubleValue) }
        let sorted = all.sorted { ($1.share ?? 0, $0.name) < ($0.share ?? 0, $1.name) }
        let text = sorted.map { entry in
            guard let share = entry.share, share < 1 else { return entry.name }
            return "\(entry.name) \(Self.percent(share))"
        }
        return text.isEmpty ? "-" : text.joined(separator: ", ")
    }

    /// Something is never shown as nothing, and not all never as all.
    private static func percent(_ share: Double) -> String {
        switch share {
        case ...0: "0%"
        case ..<0.01: "<1%"
        case 0.99..<1: ">99%"
        default: "\(Int((min(share, 1) * 100).rounded()))%"
        }
    }

    private static func shown(_ value: JSONText) -> String {
        Terminal.harmless(value.stringValue ?? value.string).cut(to: Self.cellWidth)
    }
}
