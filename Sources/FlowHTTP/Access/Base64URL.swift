/// Strict base64url without padding (RFC 7515, 2; RFC 4648, 5): each sequence of bytes has exactly one text.
///
/// jwt-kit's own decoder accepts padding and returns no bytes for invalid text, so its caller cannot detect the error.
enum Base64URL {
    /// Decodes a complete text.
    /// - Returns: `nil` if a byte is not in the alphabet, the length is impossible or unused bits are set.
    static func decode(_ text: some Collection<UInt8>) -> [UInt8]? {
        guard text.count % 4 != 1 else { return nil }
        var result: [UInt8] = []
        result.reserveCapacity(text.count * 3 / 4)
        var pending: UInt32 = 0
        var bits: UInt32 = 0
        for byte in text {
            guard let value = Self.value(of: byte) else { return nil }
            pending = pending << 6 | value
            bits += 6
            if bits >= 8 {
                bits -= 8
                result.append(UInt8(truncatingIfNeeded: pending >> bits))
                pending &= (1 << bits) - 1
            }
        }
        return pending == 0 ? result : nil
    }

    /// The six bits that a character of the alphabet stands for; `nil` for any other byte.
    private static func value(of byte: UInt8) -> UInt32? {
        switch byte {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"): UInt32(byte - UInt8(ascii: "A"))
        case UInt8(ascii: "a")...UInt8(ascii: "z"): UInt32(byte - UInt8(ascii: "a")) + 26
        case UInt8(ascii: "0")...UInt8(ascii: "9"): UInt32(byte - UInt8(ascii: "0")) + 52
        case UInt8(ascii: "-"): 62
        case UInt8(ascii: "_"): 63
        default: nil
        }
    }
}
