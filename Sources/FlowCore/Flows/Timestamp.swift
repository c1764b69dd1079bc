/// A wall clock time, in milliseconds since 1970-01-01T00:00:00Z.
///
/// The core does not read the wall clock: callers pass the time.
public struct Timestamp: Hashable, Sendable, Comparable, CustomStringConvertible {
    public let milliseconds: Int64

    /// The bounds of ``description``: 0000-01-01T00:00:00.000Z and 9999-12-31T23:59:59.999Z.
    private static let earliest: Int64 = -62_167_219_200_000
    private static let latest: Int64 = 253_402_300_799_999

    public init(milliseconds: Int64) { self.milliseconds = milliseconds }

    /// Unix seconds, rounded toward zero.
    public var seconds: Int64 { self.milliseconds / 1000 }

    /// The time that is this many seconds later, or earlier for a negative number.
    public func advanced(bySeconds seconds: Int64) -> Timestamp {
        Timestamp(milliseconds: self.milliseconds + seconds * 1000)
    }

    public static func < (left: Timestamp, right: Timestamp) -> Bool { left.milliseconds < right.milliseconds }

    /// The time in RFC 3339 with milliseconds, in UTC: `2026-11-23T19:05:00.123Z`. Times outside the years 0 to 9999 are
    /// clamped.
    public var description: String {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(24)
        self.write(into: &bytes)
        return String(decoding: bytes, as: UTF8.self)
    }

    /// Appends ``description`` in UTF-8.
    func write(into bytes: inout [UInt8]) {
        // Clamp to years of four digits: a time from outside the hub may have any value.
        let moment = min(max(self.milliseconds, Self.earliest), Self.latest)
        let days = moment.flooredQuotient(by: 86_400_000)
        let inDay = moment - days * 86_400_000
        let date = CivilDate(daysSince1970: days)
        bytes.appendDecimal(date.year, width: 4)
        bytes.append(UInt8(ascii: "-"))
        bytes.appendDecimal(date.month, width: 2)
        bytes.append(UInt8(ascii: "-"))
        bytes.appendDecimal(date.day, width: 2)
        bytes.append(UInt8(ascii: "T"))
        bytes.appendDecimal(inDay / 3_600_000, width: 2)
        bytes.append(UInt8(ascii: ":"))
        bytes.appendDecimal(inDay / 60_000 % 60, width: 2)
        bytes.append(UInt8(ascii: ":"))
        bytes.appendDecimal(inDay / 1000 % 60, width: 2)
        bytes.append(UInt8(ascii: "."))
        bytes.appendDecimal(inDay % 1000, width: 3)
        bytes.append(UInt8(ascii: "Z"))
    }
}

/// A date in the proleptic Gregorian calendar, computed from a number of days (Howard Hinnant, "chrono-Compatible Low-Level
/// Date Algorithms", `civil_from_days`).
private struct CivilDate {
    let year: Int64
    let month: Int64
    let day: Int64

    init(daysSince1970: Int64) {
        let shifted = daysSince1970 + 719_468
        let era = shifted.flooredQuotient(by: 146_097)
        let dayOfEra = shifted - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shiftedMonth = (5 * dayOfYear + 2) / 153
        self.day = dayOfYear - (153 * shiftedMonth + 2) / 5 + 1
        self.month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
        self.year = yearOfEra + era * 400 + (self.month <= 2 ? 1 : 0)
    }
}

extension Int64 {
    /// The quotient, rounded toward negative infinity.
    fileprivate func flooredQuotient(by divisor: Int64) -> Int64 {
        let quotient = self / divisor
        return self % divisor < 0 ? quotient - 1 : quotient
    }
}

extension [UInt8] {
    /// Appends the last `width` decimal digits of a number that is not negative, with leading zeros.
    fileprivate mutating func appendDecimal(_ value: Int64, width: Int) {
        var divisor: Int64 = 1
        for _ in 1..<width { divisor *= 10 }
        var rest = value
        while divisor > 0 {
            self.append(UInt8(ascii: "0") + UInt8(truncatingIfNeeded: rest / divisor % 10))
            rest %= divisor
            divisor /= 10
        }
    }
}
