/// Progress of an operation, formatted as one line of text. A value type without input or output.
struct ProgressLine: Hashable, Sendable {
    enum Unit: Hashable, Sendable {
        case bytes
        /// Counted items; the associated value is their plural, such as `records`.
        case items(String)
    }

    var label: String
    var unit: Unit
    var done: Int
    /// `nil` if the total is unknown.
    var total: Int?
    /// Bytes or items per second, measured over about the last 10 s; `nil` until it can be measured.
    var rate: Double?

    /// - Parameter width: maximum number of columns.
    /// - Returns: the line. If it does not fit, the bar is shortened from 24 to 10 cells; then the remaining time, the rate
    ///   and the bar are left out, in this order.
    func text(width: Int, palette: Palette = Palette(isOn: false)) -> String {
        let counts = self.counts
        let speed = self.speed
        let remaining = self.remainingTime
        let choices: [(cells: Int, parts: [String])] = [
            (24, [counts, speed, remaining]), (10, [counts, speed, remaining]), (10, [counts, speed]), (10, [counts]),
            (0, [counts]),
        ]
        for (cells, parts) in choices {
            let head = self.head(cells: self.total == nil ? 0 : cells)
            let tail = parts.filter { !$0.isEmpty }.joined(separator: "  ")
            let length = self.label.count + 2 + (head.isEmpty ? 0 : head.count + 2) + tail.count
            if length <= width { return self.line(head, tail, palette) }
        }
        return self.line("", counts, Palette(isOn: false)).truncated(to: max(width, 1))
    }

    /// The line that replaces the bar after the operation: amount, duration, and if it took at least 1 s the average rate.
    func summary(seconds: Double) -> String {
        var text = "\(self.label)  \(self.format(self.done))"
        if let total = self.total, self.done < total { text += " of \(self.format(total))" }
        text += "\(self.noun) in \(HumanReadable.duration(seconds: seconds))"
        if seconds >= 1 { text += " (\(self.format(Int(min(Double(self.done) / seconds, 1e15))))/s)" }
        return text
    }

    /// The share that is done, from 0 to 1; `nil` without a total.
    private var share: Double? {
        self.total.map { $0 <= 0 ? 1 : min(max(Double(self.done) / Double($0), 0), 1) }
    }

    /// Joins label, bar (`head`) and counts (`tail`), and colors the bar.
    private func line(_ head: String, _ tail: String, _ palette: Palette) -> String {
        let barCharacters: Set<Character> = ["█", "░"]
        let bar = head.prefix { barCharacters.contains($0) }
        let painted = bar.isEmpty ? head : palette.cyan(String(bar)) + head.dropFirst(bar.count)
        return [self.label, painted, tail].filter { !$0.isEmpty }.joined(separator: "  ")
    }

    /// The bar of this many cells and the percentage; only the percentage with 0 cells; empty if the total is unknown.
    private func head(cells: Int) -> String {
        guard let share = self.share else { return "" }
        let full = Int(share * Double(cells))
        let bar = String(repeating: "█", count: full) + String(repeating: "░", count: cells - full)
        let percent = "\(Int(share * 100))%"
        return (cells > 0 ? bar + " " : "") + String(repeating: " ", count: 4 - percent.count) + percent
    }

    private var counts: String {
        guard let total = self.total else { return self.format(self.done) + self.noun }
        return "\(self.format(self.done)) of \(self.format(total))\(self.noun)"
    }

    private var speed: String {
        self.rate.map { "\(self.format(Int(min(max($0, 0), 1e15))))/s" } ?? ""
    }

    private var remainingTime: String {
        guard let total = self.total, let rate = self.rate, rate > 0, self.done < total else { return "" }
        return "\(HumanReadable.duration(seconds: Double(total - self.done) / rate)) left"
    }

    /// An amount in the unit: `1.5 kB`, or `1,234` for items.
    private func format(_ value: Int) -> String {
        switch self.unit {
        case .bytes: HumanReadable.bytes(value)
        case .items: HumanReadable.count(value)
        }
    }

    private var noun: String {
        switch self.unit {
        case .bytes: ""
        case .items(let name): " \(name)"
        }
    }
}
