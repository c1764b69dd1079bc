import NIOCore

// For `memchr`, which has no effects.
#if canImport(Glibc)
import Glibc
#endif

/// The `data:` lines of an event.
///
/// A line has at most ``maximumDataLine`` bytes where the JSON can be broken: many readers have a limit for a line, and would
/// fail at each reconnect again. A reader joins the lines by line feeds, which are white space between tokens.
///
/// U+0085, U+2028 and U+2029 are written as JSON escapes: to readers that split a text by Unicode's rules they are line ends.
extension ByteBuffer {
    /// Maximum number of bytes of a line `data: …`, unless it consists of a longer string or number.
    static let maximumDataLine = 32_768

    /// Writes JSON as one or more lines `data: …`.
    mutating func writeDataLines(_ data: JSONText) {
        data.bytes.withUnsafeBufferPointer { bytes in
            guard UnicodeLineEnds.occur(in: bytes) else { return self.writeDataLines(bytes) }
            UnicodeLineEnds.escaped(bytes).withUnsafeBufferPointer { self.writeDataLines($0) }
        }
    }

    private mutating func writeDataLines(_ bytes: UnsafeBufferPointer<UInt8>) {
        let room = Self.maximumDataLine - Self.dataPrefix.utf8CodeUnitCount
        guard bytes.count > room else { return self.writeDataLine(bytes) }
        // The line that is being collected starts at `start`. `end` is the last place up to which it may reach.
        var start = 0
        var end = 0
        var index = 0
        while index < bytes.count {
            let byte = bytes[index]
            index = byte == UInt8(ascii: "\"") ? Self.endOfString(at: index, in: bytes) : index + 1
            switch byte {
            case UInt8(ascii: "\""), UInt8(ascii: ","), UInt8(ascii: ":"), UInt8(ascii: "{"), UInt8(ascii: "}"),
                UInt8(ascii: "["), UInt8(ascii: "]"):
                if index - start > room, end > start {
                    self.writeDataLine(UnsafeBufferPointer(rebasing: bytes[start..<end]))
                    start = end
                }
                end = index
            default: break
            }
        }
        self.writeDataLine(UnsafeBufferPointer(rebasing: bytes[start...]))
    }

    private static let dataPrefix: StaticString = "data: "

    private mutating func writeDataLine(_ bytes: UnsafeBufferPointer<UInt8>) {
        self.writeStaticString(Self.dataPrefix)
        self.writeBytes(UnsafeRawBufferPointer(bytes))
        self.writeStaticString("\n")
    }

    /// The index after the closing quote of the string that starts at an index.
    private static func endOfString(at start: Int, in bytes: UnsafeBufferPointer<UInt8>) -> Int {
        var index = start + 1
        while let quote = bytes.firstIndex(of: UInt8(ascii: "\""), from: index) {
            var backslashes = 0
            while quote - backslashes > index, bytes[quote - backslashes - 1] == UInt8(ascii: "\\") { backslashes += 1 }
            if backslashes.isMultiple(of: 2) { return quote + 1 }
            index = quote + 1
        }
        return bytes.count
    }
}

/// The characters beyond ASCII that end a line by Unicode's rules. In JSON they occur in strings only.
private enum UnicodeLineEnds {
    static func occur(in bytes: UnsafeBufferPointer<UInt8>) -> Bool {
        for lead: UInt8 in [0xe2, 0xc2] {
            var index = 0
            while let found = bytes.firstIndex(of: lead, from: index) {
                if Self.character(at: found, in: bytes) != nil { return true }
                index = found + 1
            }
        }
        return false
    }

    /// The bytes, with these characters as escapes.
    static func escaped(_ bytes: UnsafeBufferPointer<UInt8>) -> [UInt8] {
        var result: [UInt8] = []
        result.reserveCapacity(bytes.count + 64)
        var index = 0
        while index < bytes.count {
            if let character = Self.character(at: index, in: bytes) {
                result.append(contentsOf: character.escape)
                index += character.length
            } else {
                result.append(bytes[index])
                index += 1
            }
        }
        return result
    }

    private static func character(
        at index: Int, in bytes: UnsafeBufferPointer<UInt8>
    ) -> (length: Int, escape: String.UTF8View)? {
        switch bytes[index] {
        case 0xc2 where index + 1 < bytes.count && bytes[index + 1] == 0x85: (2, #"\u0085"#.utf8)
        case 0xe2 where index + 2 < bytes.count && bytes[index + 1] == 0x80 && bytes[index + 2] == 0xa8: (3, #"\u2028"#.utf8)
        case 0xe2 where index + 2 < bytes.count && bytes[index + 1] == 0x80 && bytes[index + 2] == 0xa9: (3, #"\u2029"#.utf8)
        default: nil
        }
    }
}

extension UnsafeBufferPointer<UInt8> {
    /// The first index of a byte, at an index or after it.
    fileprivate func firstIndex(of byte: UInt8, from start: Int) -> Int? {
        guard start < self.count, let base = self.baseAddress,
            let found = memchr(base + start, CInt(byte), self.count - start)
        else { return nil }
        return UnsafeRawPointer(found) - UnsafeRawPointer(base)
    }
}
