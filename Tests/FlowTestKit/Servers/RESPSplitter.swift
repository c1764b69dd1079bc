import NIOCore

/// Cuts what a Redis server sends into whole values, and tells which of them are messages of its pub/sub.
struct RESPSplitter {
    /// What came in is no RESP.
    struct Failure: Error {}

    struct Value {
        let bytes: ByteBuffer
        let isMessage: Bool
    }

    /// As much of a value as tells what it is.
    private struct Outline {
        var type: UInt8 = 0
        var count = 0
        /// The first element, if it is a bulk string.
        var name = ""
        /// The last integer.
        var number = 0
        var items = 0
    }

    private var bytes = ByteBuffer()
    /// How much of the bytes belongs to the value that is being read.
    private var scanned = 0
    /// How many items that value still lacks.
    private var itemsRemaining = 1
    private var outline = Outline()
    /// In RESP2 a message is an array like any other; which is which tells whether the connection is subscribed to something.
    private var isSubscribed = false

    mutating func feed(_ more: ByteBuffer) { self.bytes.writeImmutableBuffer(more) }

    /// The next whole value, if it is there.
    mutating func next() throws -> Value? {
        while self.itemsRemaining > 0 {
            guard try self.scanItem() else { return nil }
        }
        guard let bytes = self.bytes.readSlice(length: self.scanned) else { throw Failure() }
        self.bytes.discardReadBytes()
        defer {
            self.scanned = 0
            self.itemsRemaining = 1
            self.outline = Outline()
        }
        return Value(bytes: bytes, isMessage: self.isMessage())
    }

    /// Takes a header, and what a bulk string has behind it. - Returns: whether it was there.
    private mutating func scanItem() throws -> Bool {
        let rest = self.bytes.readableBytesView.dropFirst(self.scanned)
        guard let type = rest.first, let end = rest.firstIndex(of: UInt8(ascii: "\r")) else { return false }
        let number = Int(String(decoding: rest[(rest.startIndex + 1)..<end], as: UTF8.self))
        var length = end - rest.startIndex + 2
        var elements = 0
        var text: Range<Int>?
        switch type {
        case UInt8(ascii: "$"), UInt8(ascii: "!"), UInt8(ascii: "="):
            guard let number else { throw Failure() }
            if number >= 0 {
                text = (rest.startIndex + length)..<(rest.startIndex + length + number)
                length += number + 2
            }
        case UInt8(ascii: "*"), UInt8(ascii: "~"), UInt8(ascii: ">"):
            guard let number else { throw Failure() }
            elements = max(0, number)
        case UInt8(ascii: "%"):
            guard let number else { throw Failure() }
            elements = 2 * number
        case UInt8(ascii: ":"):
            self.outline.number = number ?? 0
        case UInt8(ascii: "+"), UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: ","), UInt8(ascii: "#"), UInt8(ascii: "("):
            break
        default:
            throw Failure()
        }
        guard rest.count >= length else { return false }
        switch self.outline.items {
        case 0: (self.outline.type, self.outline.count) = (type, elements)
        case 1: if let text { self.outline.name = String(decoding: rest[text].prefix(16), as: UTF8.self) }
        default: break
        }
        self.outline.items += 1
        self.scanned += length
        self.itemsRemaining += elements - 1
        return true
    }

    private mutating func isMessage() -> Bool {
        let isArray = self.outline.type == UInt8(ascii: "*")
        switch (self.outline.name, self.outline.count) {
        case ("message", 3), ("pmessage", 4):
            return isArray ? self.isSubscribed : self.outline.type == UInt8(ascii: ">")
        case ("subscribe", 3), ("unsubscribe", 3), ("psubscribe", 3), ("punsubscribe", 3):
            if isArray { self.isSubscribed = self.outline.number > 0 }
            return false
        default:
            return false
        }
    }
}
