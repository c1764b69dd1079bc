/// The least and the greatest of a field's numbers, as written.
struct NumberRange: Sendable {
    /// A number as written and as the nearest double.
    private struct Number: Sendable {
        private(set) var text: ArraySlice<UInt8>
        let double: Double

        /// A copy with text of its own, so that a whole record is not kept in memory for one number.
        var copy: Number {
            var number = self
            number.text = Array(self.text)[...]
            return number
        }

        init(_ text: ArraySlice<UInt8>) {
            self.text = text
            self.double = Double(String(decoding: text, as: UTF8.self)) ?? 0
        }

        /// Compares as doubles, since rounding keeps the order. If the doubles are equal, the digits are compared.
        static func < (left: Number, right: Number) -> Bool {
            guard left.double == right.double else { return left.double < right.double }
            guard left.text != right.text else { return false }
            return DecimalValue(left.text) < DecimalValue(right.text)
        }
    }

    /// The least and the greatest number so far; `nil` before the first number.
    private var ends: (least: Number, greatest: Number)?

    /// The least number as written; `nil` if there are no numbers.
    var least: ArraySlice<UInt8>? { self.ends?.least.text }
    /// The greatest number as written; `nil` if there are no numbers.
    var greatest: ArraySlice<UInt8>? { self.ends?.greatest.text }

    /// Adds a number in JSON syntax.
    mutating func add(_ text: ArraySlice<UInt8>) {
        let number = Number(text)
        guard let ends = self.ends else {
            self.ends = (number.copy, number.copy)
            return
        }
        if number < ends.least { self.ends?.least = number.copy }
        if ends.greatest < number { self.ends?.greatest = number.copy }
    }
}

/// A JSON number without loss of precision: ± 0.d₁d₂d₃… × 10^exponent, d₁ not zero.
struct DecimalValue: Comparable, Sendable {
    private var isNegative = false
    private var digits: [UInt8] = []
    private var exponent = 0

    /// - Parameter text: a number in JSON syntax.
    init(_ text: some Sequence<UInt8>) {
        var isFraction = false
        var exponentText: String?
        for byte in text {
            switch byte {
            case _ where exponentText != nil:
                exponentText?.unicodeScalars.append(Unicode.Scalar(byte))
            case UInt8(ascii: "-"):
                self.isNegative = true
            case UInt8(ascii: "."):
                isFraction = true
            case UInt8(ascii: "e"), UInt8(ascii: "E"):
                exponentText = ""
            case UInt8(ascii: "0") where self.digits.isEmpty:
                if isFraction { self.exponent -= 1 }
            default:
                self.digits.append(byte)
                if !isFraction { self.exponent += 1 }
            }
        }
        while self.digits.last == UInt8(ascii: "0") { self.digits.removeLast() }
        if self.digits.isEmpty {
            // Zero has no sign and no exponent.
            self.isNegative = false
            self.exponent = 0
        } else if let exponentText {
            // An exponent beyond ±2³² is far out of any double's range, so it is limited to that for the comparison.
            let given = Int(exponentText) ?? (exponentText.hasPrefix("-") ? -(1 << 32) : 1 << 32)
            self.exponent += min(max(given, -(1 << 32)), 1 << 32)
        }
    }

    /// Compares the exact values.
    static func < (left: DecimalValue, right: DecimalValue) -> Bool {
        if left.sign != right.sign { return left.sign < right.sign }
        return left.isNegative ? right.isSmaller(than: left) : left.isSmaller(than: right)
    }

    /// -1 if the number is negative, 0 if it is zero, 1 if it is positive.
    private var sign: Int { self.digits.isEmpty ? 0 : self.isNegative ? -1 : 1 }

    /// Compares the absolute values of two numbers with the same sign.
    private func isSmaller(than other: DecimalValue) -> Bool {
        if self.digits.isEmpty { return false }
        if self.exponent != other.exponent { return self.exponent < other.exponent }
        return self.digits.lexicographicallyPrecedes(other.digits)
    }
}
