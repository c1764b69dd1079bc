/// Random text from the system's cryptographic generator.
package enum RandomText {
    /// 128 random bits as 32 hexadecimal digits, for ids and secrets that cannot be guessed.
    package static func hex128() -> String {
        var generator = SystemRandomNumberGenerator()
        return Self.hex(generator.next()) + Self.hex(generator.next())
    }

    /// `count` random digits of base 36.
    package static func base36(_ count: Int) -> String {
        let digits = Array("0123456789abcdefghijklmnopqrstuvwxyz")
        var generator = SystemRandomNumberGenerator()
        return String((0..<count).map { _ in digits[Int.random(in: digits.indices, using: &generator)] })
    }

    /// The value as 16 hexadecimal digits, with leading zeros.
    private static func hex(_ value: UInt64) -> String {
        let digits = String(value, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }
}
