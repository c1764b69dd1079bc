import FlowCore

/// Parsers of the time formats that servers use.
enum ServerTime {
    private static let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]

    /// Parses a time in a header field, such as `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110, section 5.6.7: the only form that
    /// may be generated); `nil` if it is invalid.
    static func http(_ text: String) -> Timestamp? {
        let words = text.split(separator: " ")
        guard words.count == 6, words[5] == "GMT", let day = Int(words[1]),
            let month = Self.months.firstIndex(of: String(words[2])),
            let year = Int(words[3])
        else { return nil }
        return Self.moment(year: year, month: month + 1, day: day, clock: words[4])
    }

    /// Parses a time in S3's XML, such as `2026-11-25T01:00:10.000Z` (ISO 8601); `nil` if it is invalid.
    static func iso(_ text: String) -> Timestamp? {
        guard text.hasSuffix("Z"), let middle = text.firstIndex(of: "T") else { return nil }
        let date = text[..<middle].split(separator: "-").compactMap { Int($0) }
        let clock = text[text.index(after: middle)...].dropLast().split(separator: ".", maxSplits: 1)
        guard date.count == 3, let time = clock.first else { return nil }
        let fraction = clock.count > 1 ? Int((clock[1] + "00").prefix(3)) : 0
        guard let fraction, let moment = Self.moment(year: date[0], month: date[1], day: date[2], clock: time) else { return nil }
        return Timestamp(milliseconds: moment.milliseconds + Int64(fraction))
    }

    /// The time for a date and a clock text such as `08:49:37`; `nil` if one of them is out of range.
    private static func moment(year: Int, month: Int, day: Int, clock: Substring) -> Timestamp? {
        let time = clock.split(separator: ":").compactMap { Int($0) }
        guard time.count == 3, (1970...9999).contains(year), (1...12).contains(month), (1...31).contains(day),
            (0...23).contains(time[0]), (0...59).contains(time[1]), (0...60).contains(time[2])
        else { return nil }
        let seconds = time[0] * 3_600 + time[1] * 60 + time[2]
        return Timestamp(milliseconds: Int64(Self.days(year, month, day) * 86_400 + seconds) * 1_000)
    }

    /// Days since 1970-01-01 (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `days_from_civil`).
    private static func days(_ year: Int, _ month: Int, _ day: Int) -> Int {
        let shifted = month <= 2 ? year - 1 : year
        let era = shifted / 400
        let yearOfEra = shifted - era * 400
        let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
        return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
    }
}
