import FlowCore

/// A schema analysis for the terminal.
enum SchemaTable {
    private static let cellWidth = 32

    /// - Parameter width: columns of the terminal; `nil`: as long as it takes.
    static func text(_ analysis: JSONText, _ palette: Palette, width: Int?) -> String {
        var table = TextTable(["FIELD", "TYPES", "NULLS", "DISTINCT", "PATTERN", "EXAMPLES"])
        for (name, field) in analysis.member("field_info")?.members ?? [] {
            let nulls = field.member("null_share")?.doubleValue.map { Self.percent($0) }
            let distinct = field.member("distinct_estimate")?.intValue.map { Figures.count(Int($0)) }
            let examples = field.member("examples")?.elements.map { Self.shown($0) } ?? []
            table.add([
                Terminal.harmless(name).cut(to: Self.cellWidth), Self.shares(field.member("types")).cut(to: Self.cellWidth),
                nulls ?? "-", distinct ?? "-", Self.shares(field.member("patterns")).cut(to: Self.cellWidth),
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
            ? "by a sample of \(Figures.count(analyzed)) of \(Figures.count(total)) records"
            : "by all \(Figures.count(total)) records"
    }

    /// `string 99%, null 1%`, the most frequent first; names alone where that is all there is.
    private static func shares(_ value: JSONText?) -> String {
        guard let value, value.isObject else { return "-" }
        let all = value.members.map { (name: Terminal.harmless($0.key), share: $0.value.doubleValue) }
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
