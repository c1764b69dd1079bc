/// The least and the greatest of numbers, as they were written.
struct NumberRange: Sendable {
    private struct Number: Sendable {
        private(set) var text: ArraySlice<UInt8>
        let double: Double

        /// Does not keep a whole record for the sake of a number in it.
        var copy: Number {
            var number = self
            number.text = Array(self.text)[...]
            return number
        }

        init(_ text: ArraySlice<UInt8>) {
            self.text = text
            self.double = Double(String(decoding: text, as: UTF8.self)) ?? 0
        }

        /// Doubles decide where they differ, as rounding keeps the order. Where they do not, the digits do.
        static func < (left: Number, right: Number) -> Bool {
            guard left.double == right.double else { return left.double < right.double }
            guard left.text != right.text else { return false }
            return DecimalValue(left.text) < DecimalValue(right.text)
        }
    }

    private var ends: (least: Number, greatest: Number)?

    var least: ArraySlice<UInt8>? { self.ends?.least.text }
    var greatest: ArraySlice<UInt8>? { self.ends?.greatest.text }

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

/// A number of JSON without loss: ± 0.d₁d₂d₃… × 10^exponent, d₁ not zero.
struct DecimalValue: Comparable, Sendable {
    private var isNegative = false
    private var digits: [UInt8] = []
    private var exponent = 0

    /// - Parameter text: a number as JSON has it.
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
            // What does not fit is beyond all doubles, or next to zero.
            let given = Int(exponentText) ?? (exponentText.hasPrefix("-") ? -(1 << 32) : 1 << 32)
            self.exponent += min(max(given, -(1 << 32)), 1 << 32)
        }
    }

    static func < (left: DecimalValue, right: DecimalValue) -> Bool {
        if left.sign != right.sign { return left.sign < right.sign }
        return left.isNegative ? right.isSmaller(than: left) : left.isSmaller(than: right)
    }

    private var sign: Int { self.digits.isEmpty ? 0 : self.isNegative ? -1 : 1 }

    /// Compares without the signs.
    private func isSmaller(than other: DecimalValue) -> Bool {
        if self.digits.isEmpty { return false }
        if self.exponent != other.exponent { return self.exponent < other.exponent }
        return self.digits.lexicographicallyPrecedes(other.digits)
    }
}
