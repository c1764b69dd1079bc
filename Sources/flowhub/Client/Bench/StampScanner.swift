/// Finds the time stamps `~T=<19 digits>~` in a stream of bytes that arrives in chunks of any size.
struct StampScanner: Hashable, Sendable {
    static let digits = 19

    /// Number of characters of the prefix `~T=` that were matched.
    private var matched = 0
    private var digitsRead = 0
    private var value: UInt64 = 0

    /// The text of the time stamp for a time in nanoseconds.
    static func stamp(nanoseconds: UInt64) -> String {
        let text = String(nanoseconds)
        return "~T=" + String(repeating: "0", count: max(0, Self.digits - text.utf8.count)) + text + "~"
    }

    /// Scans a chunk. `found` is called for each time stamp that is complete, also if it began in an earlier chunk.
    mutating func scan(_ bytes: Span<UInt8>, _ found: (_ nanoseconds: UInt64) -> Void) {
        var index = 0
        while index < bytes.count {
            if self.matched == 0 {
                while index < bytes.count, bytes[index] != UInt8(ascii: "~") { index += 1 }
                guard index < bytes.count else { return }
                self.matched = 1
                index += 1
                continue
            }
            let byte = bytes[index]
            index += 1
            switch (self.matched, byte) {
            case (1, UInt8(ascii: "T")):
                self.matched = 2
            case (2, UInt8(ascii: "=")):
                self.matched = 3
                self.digitsRead = 0
                self.value = 0
            case (3, UInt8(ascii: "0")...UInt8(ascii: "9")):
                self.value = self.value &* 10 &+ UInt64(byte - UInt8(ascii: "0"))
                self.digitsRead += 1
                if self.digitsRead == Self.digits {
                    found(self.value)
                    self.matched = 0
                }
            default:
                self.matched = byte == UInt8(ascii: "~") ? 1 : 0
            }
        }
    }
}
