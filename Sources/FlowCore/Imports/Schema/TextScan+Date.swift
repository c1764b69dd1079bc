extension TextScan {
    /// Whether the text is a date, with or without a time, see ``TextPattern/date``.
    var isDate: Bool {
        guard (6...40).contains(self.text.count) else { return false }
        var rest = self.text
        guard Self.consumeDay(&rest) else { return false }
        return rest.isEmpty || Self.isTime(rest)
    }

    /// Consumes a date without a time from the start of the text.
    /// - Returns: whether there is one that exists in the calendar.
    private static func consumeDay(_ rest: inout ArraySlice<UInt8>) -> Bool {
        guard let first = Self.consumeNumber(&rest), let separator = rest.popFirst(), let second = Self.consumeNumber(&rest),
            rest.popFirst() == separator, let third = Self.consumeNumber(&rest)
        else { return false }
        switch (separator, first.digits, second.digits, third.digits) {
        case (UInt8(ascii: "-"), 4, 2, 2):
            return Self.isDay(third.value, month: second.value, year: first.value)
        case (UInt8(ascii: "."), 1...2, 1...2, 4):
            return Self.isDay(first.value, month: second.value, year: third.value)
        case (UInt8(ascii: "/"), 1...2, 1...2, 2), (UInt8(ascii: "/"), 1...2, 1...2, 4):
            // A year of two digits is from 1970 to 2069. Adding 2000 is sufficient, since 1970 to 1999 and 2070 to
            // 2099 have the same pattern of leap years.
            let year = third.digits == 2 ? 2000 + third.value : third.value
            return Self.isDay(first.value, month: second.value, year: year)
                || Self.isDay(second.value, month: first.value, year: year)
        default:
            return false
        }
    }

    /// Whether the month has this day in this year.
    private static func isDay(_ day: Int, month: Int, year: Int) -> Bool {
        guard (1...12).contains(month) else { return false }
        let isLeapYear = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
        let days = [31, isLeapYear ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
        return (1...days[month - 1]).contains(day)
    }

    /// Whether the text is a time, such as `T12:30`, ` 12:30:59`, `T12:30:59.123Z` or `T12:30:59+01:00`.
    private static func isTime(_ text: ArraySlice<UInt8>) -> Bool {
        var rest = text
        guard let separator = rest.popFirst(), separator == UInt8(ascii: " ") || separator | 0x20 == UInt8(ascii: "t"),
            Self.consumeTwo(&rest, below: 24), rest.popFirst() == UInt8(ascii: ":"), Self.consumeTwo(&rest, below: 60)
        else { return false }
        if rest.first == UInt8(ascii: ":") {
            rest = rest.dropFirst()
            // 60 is a leap second.
            guard Self.consumeTwo(&rest, below: 61) else { return false }
            if rest.first == UInt8(ascii: ".") || rest.first == UInt8(ascii: ",") {
                rest = rest.dropFirst()
                guard let fraction = Self.consumeNumber(&rest), fraction.digits <= 9 else { return false }
            }
        }
        return rest.isEmpty || Self.isZone(rest)
    }

    /// Whether the text is an offset from UTC: `Z`, `+01:00`, `+0100` or `+01`.
    private static func isZone(_ text: ArraySlice<UInt8>) -> Bool {
        var rest = text
        let sign = rest.popFirst()
        if sign == UInt8(ascii: "Z") || sign == UInt8(ascii: "z") { return rest.isEmpty }
        guard sign == UInt8(ascii: "+") || sign == UInt8(ascii: "-"), Self.consumeTwo(&rest, below: 24) else { return false }
        if rest.isEmpty { return true }
        if rest.first == UInt8(ascii: ":") { rest = rest.dropFirst() }
        return Self.consumeTwo(&rest, below: 60) && rest.isEmpty
    }

    /// Consumes a number of exactly two digits.
    /// - Returns: whether there is one, and it is below the bound. If not, digits may have been consumed.
    private static func consumeTwo(_ rest: inout ArraySlice<UInt8>, below bound: Int) -> Bool {
        guard let number = Self.consumeNumber(&rest, atMost: 2) else { return false }
        return number.digits == 2 && number.value < bound
    }

    /// Consumes up to `count` digits from the start of the text.
    /// - Returns: their value and number; `nil` if the text does not start with a digit.
    private static func consumeNumber(_ rest: inout ArraySlice<UInt8>, atMost count: Int = 10) -> (value: Int, digits: Int)? {
        let digits = rest.prefix(count).prefix(while: JSONByte.isDigit)
        guard !digits.isEmpty else { return nil }
        rest = rest[digits.endIndex...]
        return (digits.reduce(0) { 10 * $0 + Int($1 - UInt8(ascii: "0")) }, digits.count)
    }
}
