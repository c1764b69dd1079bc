/// Unguessable text from the system's generator.
package enum RandomText {
    /// 128 bits as 32 hexadecimal digits: ids that nobody may guess.
    package static func hex128() -> String {
        var generator = SystemRandomNumberGenerator()
        return Self.hex(generator.next()) + Self.hex(generator.next())
    }

    /// So many digits of base 36.
    package static func base36(_ count: Int) -> String {
        let digits = Array("0123456789abcdefghijklmnopqrstuvwxyz")
        var generator = SystemRandomNumberGenerator()
        return String((0..<count).map { _ in digits[Int.random(in: digits.indices, using: &generator)] })
    }

    private static func hex(_ value: UInt64) -> String {
        let digits = String(value, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }
}
