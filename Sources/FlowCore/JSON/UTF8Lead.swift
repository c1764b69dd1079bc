/// What RFC 3629 requires after the first byte of a character of two to four bytes.
struct UTF8Lead {
    /// Number of bytes of the character, including the first one.
    let length: Int

    /// Allowed range of the second byte. It excludes overlong forms, surrogates and values beyond U+10FFFF.
    let second: ClosedRange<UInt8>

    /// - Returns: `nil` if no character of two to four bytes begins with the byte.
    @inline(__always)
    init?(_ byte: UInt8) {
        switch byte {
        case 0xC2...0xDF: (self.length, self.second) = (2, 0x80...0xBF)
        case 0xE0: (self.length, self.second) = (3, 0xA0...0xBF)
        case 0xED: (self.length, self.second) = (3, 0x80...0x9F)
        case 0xE1...0xEF: (self.length, self.second) = (3, 0x80...0xBF)
        case 0xF0: (self.length, self.second) = (4, 0x90...0xBF)
        case 0xF1...0xF3: (self.length, self.second) = (4, 0x80...0xBF)
        case 0xF4: (self.length, self.second) = (4, 0x80...0x8F)
        default: return nil
        }
    }
}
