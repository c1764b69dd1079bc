import FlowCore
import Foundation

/// The results of a benchmark in the order of output, as JSON or as a table.
struct BenchReport: Sendable {
    private enum Value: Sendable {
        case count(UInt64)
        case measure(Double, decimals: Int)
    }

    private var rows: [(name: String, label: String, value: Value)] = []

    /// Adds a count. `name`: the JSON member, `label`: the title of the row.
    mutating func add(_ name: String, _ label: String, _ value: some BinaryInteger) {
        self.rows.append((name, label, .count(UInt64(clamping: value))))
    }

    /// Adds a measured value, rounded to this many decimals; nothing if it is `nil`.
    mutating func add(_ name: String, _ label: String, _ value: Double?, decimals: Int) {
        guard let value else { return }
        self.rows.append((name, label, .measure(value, decimals: decimals)))
    }

    /// Adds the percentiles and the maximum of the latencies.
    mutating func add(_ histogram: LatencyHistogram) {
        for (name, share) in [("p50_us", 0.5), ("p90_us", 0.9), ("p99_us", 0.99), ("p999_us", 0.999), ("max_us", 1.0)] {
            self.add(name, "latency \(name.dropLast(3))", Double(histogram.percentile(share)), decimals: 0)
        }
    }

    var json: String {
        JSONText.object { writer in
            for row in self.rows {
                writer.key(row.name)
                switch row.value {
                case .count(let count): writer.value(Int64(clamping: count))
                case .measure(let value, let decimals): writer.value(Self.rounded(value, decimals))
                }
            }
        }.string
    }

    /// The results as a table with one row per value.
    func text(_ palette: Palette) -> String {
        let width = self.rows.map(\.label.count).max() ?? 0
        return self.rows.map { row in
            let shown =
                switch row.value {
                case .count(let count): Self.grouped(String(count))
                case .measure(let value, let decimals):
                    row.name.hasSuffix("_us") && decimals == 0
                        ? Self.duration(value) : Self.grouped(String(format: "%.\(decimals)f", value))
                }
            return "\(palette.dim(row.label.padded(to: width)))  \(shown)"
        }.joined(separator: "\n")
    }

    /// Rounds a value to this many decimals.
    private static func rounded(_ value: Double, _ decimals: Int) -> Double {
        let factor = decimals == 0 ? 1.0 : pow(10, Double(decimals))
        return (value * factor).rounded() / factor
    }

    /// Separates thousands with blanks: `1 234 567.8`.
    private static func grouped(_ text: String) -> String {
        let end = text.firstIndex(of: ".") ?? text.endIndex
        var whole = ""
        for (index, digit) in text[..<end].reversed().enumerated() {
            if index > 0, index.isMultiple(of: 3) { whole.append(" ") }
            whole.append(digit)
        }
        return String(whole.reversed()) + text[end...]
    }

    /// A duration with its unit: `250 us`, `1.50 ms`, `2.00 s`.
    private static func duration(_ microseconds: Double) -> String {
        if microseconds < 1000 { return "\(Int(microseconds)) us" }
        if microseconds < 1_000_000 { return String(format: "%.2f ms", microseconds / 1000) }
        return String(format: "%.2f s", microseconds / 1_000_000)
    }
}
