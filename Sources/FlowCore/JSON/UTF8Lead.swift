/// What must follow the first byte of a character of two to four bytes: RFC 3629.
struct UTF8Lead {
    /// Bytes of the character, this one included.
    let length: Int

    /// What the second byte may be. It excludes overlong forms, surrogates and what is beyond U+10FFFF.
    let second: ClosedRange<UInt8>

    /// - Returns: `nil` for a byte that begins no such character.
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
