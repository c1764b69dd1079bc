/// Base64 with padding (RFC 4648, section 4).
public enum Base64 {
    private static let digits = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
    /// The value of each byte as a digit; 255 if it is none.
    private static let values = {
        var values = [UInt8](repeating: 255, count: 256)
        for (value, digit) in Self.digits.enumerated() { values[Int(digit)] = UInt8(value) }
        return values
    }()

    /// The bytes as text.
    public static func encode(_ bytes: [UInt8]) -> [UInt8] {
        let (digits, pad) = (Self.digits, UInt8(ascii: "="))
        var text: [UInt8] = []
        text.reserveCapacity((bytes.count + 2) / 3 * 4)
        var index = 0
        while index + 2 < bytes.count {
            let bits = UInt32(bytes[index]) << 16 | UInt32(bytes[index + 1]) << 8 | UInt32(bytes[index + 2])
            text.append(digits[Int(bits >> 18)])
            text.append(digits[Int(bits >> 12 & 63)])
            text.append(digits[Int(bits >> 6 & 63)])
            text.append(digits[Int(bits & 63)])
            index += 3
        }
        if index < bytes.count {
            let second = index + 1 < bytes.count ? bytes[index + 1] : nil
            let bits = UInt32(bytes[index]) << 16 | UInt32(second ?? 0) << 8
            text.append(digits[Int(bits >> 18)])
            text.append(digits[Int(bits >> 12 & 63)])
            text.append(second == nil ? pad : digits[Int(bits >> 6 & 63)])
            text.append(pad)
        }
        return text
    }

    /// Reads the text.
    /// - Returns: `nil` unless it is the form that ``encode(_:)`` writes.
    public static func decode(_ text: ArraySlice<UInt8>) -> [UInt8]? {
        guard text.count % 4 == 0 else { return nil }
        let values = Self.values
        let padding = text.suffix(2).count { $0 == UInt8(ascii: "=") }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(text.count / 4 * 3)
        var (bits, count) = (UInt32(0), 0)
        for byte in text.dropLast(padding) {
            let value = values[Int(byte)]
            guard value < 64 else { return nil }
            bits = bits << 6 | UInt32(value)
            count += 1
            if count % 4 == 0 {
                bytes.append(UInt8(truncatingIfNeeded: bits >> 16))
                bytes.append(UInt8(truncatingIfNeeded: bits >> 8))
                bytes.append(UInt8(truncatingIfNeeded: bits))
            }
        }
        switch padding {
        case 0: return bytes
        case 1:
            guard bits & 3 == 0 else { return nil }
            return bytes + [UInt8(truncatingIfNeeded: bits >> 10), UInt8(truncatingIfNeeded: bits >> 2)]
        default:
            guard bits & 15 == 0 else { return nil }
            return bytes + [UInt8(truncatingIfNeeded: bits >> 4)]
        }
    }
}
