/// Number formatting for the terminal.
enum HumanReadable {
    private static let units = ["kB", "MB", "GB", "TB", "PB", "EB"]

    /// A number of bytes in decimal units, with at most three digits: `999 B`, `1.5 kB`, `29 MB`. Negative counts become `0 B`.
    static func bytes(_ count: Int) -> String {
        guard count >= 1_000 else { return "\(max(count, 0)) B" }
        var value = Double(count) / 1_000
        var unit = 0
        // A value that would be rounded to 1000 is shown in the next higher unit.
        while value >= 999.5, unit < self.units.count - 1 {
            value /= 1_000
            unit += 1
        }
        return "\(self.format(value)) \(self.units[unit])"
    }

    /// A count with thousands separators: `1,234,567`.
    static func count(_ count: Int) -> String {
        let digits = Array(String(count.magnitude))
        var text = count < 0 ? "-" : ""
        for (index, digit) in digits.enumerated() {
            if index > 0, (digits.count - index).isMultiple(of: 3) { text += "," }
            text.append(digit)
        }
        return text
    }

    /// A duration, rounded up to seconds: `8 s`, `2 min 5 s`, `1 h 3 min`.
    static func duration(seconds: Double) -> String {
        let whole = seconds < 1e9 ? Int(max(seconds, 0).rounded(.up)) : 1_000_000_000
        switch whole {
        case ..<60: return "\(whole) s"
        case ..<3_600: return "\(whole / 60) min \(whole % 60) s"
        default: return "\(whole / 3_600) h \(whole / 60 % 60) min"
        }
    }

    /// Formats a number: with one decimal if it is below 10, else rounded to a whole number.
    private static func format(_ value: Double) -> String {
        let tenths = Int((value * 10).rounded())
        return tenths < 100 ? "\(tenths / 10).\(tenths % 10)" : "\(Int(value.rounded()))"
    }
}
