/// How far something is, as one line of text: pure, so that it can be looked at in a test.
struct ProgressLine: Hashable, Sendable {
    enum Unit: Hashable, Sendable {
        case bytes
        /// Things that are counted, in the plural: `records`.
        case items(String)
    }

    var label: String
    var unit: Unit
    var done: Int
    /// `nil` if nobody knows how much there will be.
    var total: Int?
    /// Units a second of late; `nil` as long as it cannot be told.
    var rate: Double?

    /// - Parameter width: columns that it may take.
    /// - Returns: as much of it as fits, from the least important part on: time left, rate, the bar's length, the bar.
    func text(width: Int, palette: Palette = Palette(isOn: false)) -> String {
        let counts = self.counts
        let speed = self.speed
        let left = self.timeLeft
        let choices: [(cells: Int, parts: [String])] = [
            (24, [counts, speed, left]), (10, [counts, speed, left]), (10, [counts, speed]), (10, [counts]), (0, [counts]),
        ]
        for (cells, parts) in choices {
            let head = self.head(cells: self.total == nil ? 0 : cells)
            let tail = parts.filter { !$0.isEmpty }.joined(separator: "  ")
            let length = self.label.count + 2 + (head.isEmpty ? 0 : head.count + 2) + tail.count
            if length <= width { return self.line(head, tail, palette) }
        }
        return self.line("", counts, Palette(isOn: false)).cut(to: max(width, 1))
    }

    /// What is left to say when it is over.
    func summary(seconds: Double) -> String {
        var text = "\(self.label)  \(self.figure(self.done))"
        if let total = self.total, self.done < total { text += " of \(self.figure(total))" }
        text += "\(self.noun) in \(HumanReadable.duration(seconds: seconds))"
        if seconds >= 1 { text += " (\(self.figure(Int(min(Double(self.done) / seconds, 1e15))))/s)" }
        return text
    }

    /// 0...1; `nil` without a total.
    private var share: Double? {
        self.total.map { $0 <= 0 ? 1 : min(max(Double(self.done) / Double($0), 0), 1) }
    }

    private func line(_ head: String, _ tail: String, _ palette: Palette) -> String {
        let marks: Set<Character> = ["█", "░"]
        let bar = head.prefix { marks.contains($0) }
        let painted = bar.isEmpty ? head : palette.cyan(String(bar)) + head.dropFirst(bar.count)
        return [self.label, painted, tail].filter { !$0.isEmpty }.joined(separator: "  ")
    }

    private func head(cells: Int) -> String {
        guard let share = self.share else { return "" }
        let full = Int(share * Double(cells))
        let bar = String(repeating: "█", count: full) + String(repeating: "░", count: cells - full)
        let percent = "\(Int(share * 100))%"
        return (cells > 0 ? bar + " " : "") + String(repeating: " ", count: 4 - percent.count) + percent
    }

    private var counts: String {
        guard let total = self.total else { return self.figure(self.done) + self.noun }
        return "\(self.figure(self.done)) of \(self.figure(total))\(self.noun)"
    }

    private var speed: String {
        self.rate.map { "\(self.figure(Int(min(max($0, 0), 1e15))))/s" } ?? ""
    }

    private var timeLeft: String {
        guard let total = self.total, let rate = self.rate, rate > 0, self.done < total else { return "" }
        return "\(HumanReadable.duration(seconds: Double(total - self.done) / rate)) left"
    }

    private func figure(_ value: Int) -> String {
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
