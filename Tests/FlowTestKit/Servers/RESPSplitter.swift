import NIOCore

/// An incremental parser that splits the output of a Redis server into values and recognizes pub/sub messages.
struct RESPSplitter {
    /// The input is not valid RESP.
    struct Failure: Error {}

    struct Value {
        let bytes: ByteBuffer
        let isMessage: Bool
    }

    /// The parts of a value that identify its kind.
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
    /// Number of buffered bytes that belong to the current value.
    private var scanned = 0
    /// Number of items that the current value still lacks.
    private var itemsRemaining = 1
    private var outline = Outline()
    /// Whether the connection has subscriptions. In RESP2 a message is an ordinary array: without a subscription it is a reply.
    private var isSubscribed = false

    mutating func feed(_ more: ByteBuffer) { self.bytes.writeImmutableBuffer(more) }

    /// - Returns: the next complete value; `nil` if more bytes are needed.
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

    /// Scans one item: a header line and, of a bulk string, its content.
    /// - Returns: whether the item was complete.
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
