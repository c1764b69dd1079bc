/// Incremental parser of an event stream (HTML standard, 9.2.5 and 9.2.6) for chunks of any size.
///
/// - Lines end with CR, LF or CRLF, also if a chunk ends between CR and LF.
/// - Skips a byte order mark at the start, comments, and unknown fields. Ignores an `id` with a NUL.
/// - A block without data yields no event, but its id moves the cursor.
/// - An incomplete block at the end of the stream is dropped, as the standard requires. So use a new parser for each
///   connection, with the cursor of the previous one.
struct EventStreamParser {
    /// An item of the stream, of which all bytes have arrived.
    enum Item: Hashable, Sendable {
        case event(ServerEvent)
        /// The new cursor, from the `id:` of a block (bytes up to an empty line) without data.
        case cursor(String)
        /// Milliseconds to wait before the next connection.
        case retry(Int)
    }

    /// A block (the bytes up to an empty line) exceeds the limit. No hub sends such a block. The parser cannot continue with
    /// this stream.
    struct TooLarge: Error, Hashable {
        let limit: Int
    }

    /// Maximum number of bytes of a line plus the data of its block.
    let limit: Int

    /// Whether an event without an `id:` has the id of the block before, as in an `EventSource`. `false` for a stream of several
    /// flows with a cursor each: there the block before may be of another flow, and such an event has an empty id.
    let inheritsID: Bool

    /// The most recent `id:` of a complete block, to send as `Last-Event-ID`. Empty: no block had an `id:` yet.
    private(set) var cursor: String

    private var line: [UInt8] = []
    private var lastWasCR = false
    private var isFirstLine = true

    private var type = ""
    private var data: [UInt8] = []
    private var pendingID: String

    init(cursor: String = "", inheritsID: Bool = true, limit: Int = 16 * 1_048_576) {
        self.inheritsID = inheritsID
        self.cursor = cursor
        self.pendingID = cursor
        self.limit = limit
    }

    /// Parses a chunk.
    /// - Returns: the items that the chunk completes, in order.
    /// - Throws: ``TooLarge`` if a block exceeds ``limit``.
    mutating func feed(_ chunk: some Sequence<UInt8>) throws(TooLarge) -> [Item] {
        var items: [Item] = []
        for byte in chunk {
            switch byte {
            case UInt8(ascii: "\n") where self.lastWasCR:
                self.lastWasCR = false
            case UInt8(ascii: "\r"), UInt8(ascii: "\n"):
                self.lastWasCR = byte == UInt8(ascii: "\r")
                self.endLine(&items)
            default:
                self.lastWasCR = false
                guard self.line.count + self.data.count < self.limit else { throw TooLarge(limit: self.limit) }
                self.line.append(byte)
            }
        }
        return items
    }

    /// Processes a complete line: an empty one ends the block, any other is a field of the block.
    private mutating func endLine(_ items: inout [Item]) {
        if self.isFirstLine {
            self.isFirstLine = false
            if self.line.starts(with: [0xEF, 0xBB, 0xBF]) { self.line.removeFirst(3) }
        }
        if self.line.isEmpty {
            self.endBlock(&items)
        } else {
            self.readField(&items)
            self.line.removeAll(keepingCapacity: true)
        }
    }

    /// Adds the field in the current line to the block. A `retry:` becomes an item immediately.
    private mutating func readField(_ items: inout [Item]) {
        let colon = self.line.firstIndex(of: UInt8(ascii: ":")) ?? self.line.endIndex
        var value = self.line[min(colon + 1, self.line.endIndex)...]
        if value.first == UInt8(ascii: " ") { value = value.dropFirst() }
        switch String(decoding: self.line[..<colon], as: UTF8.self) {
        case "event":
            self.type = String(decoding: value, as: UTF8.self)
        case "data":
            self.data.append(contentsOf: value)
            self.data.append(UInt8(ascii: "\n"))
        case "id":
            if !value.contains(0) { self.pendingID = String(decoding: value, as: UTF8.self) }
        case "retry":
            let isNumber = !value.isEmpty && value.allSatisfy { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }
            if isNumber, let milliseconds = Int(String(decoding: value, as: UTF8.self)) { items.append(.retry(milliseconds)) }
        default:
            break
        }
    }

    /// Ends the block: moves the cursor, and adds an event if the block has data.
    private mutating func endBlock(_ items: inout [Item]) {
        let moved = self.cursor != self.pendingID
        self.cursor = self.pendingID
        defer {
            self.type = ""
            self.data.removeAll(keepingCapacity: true)
            if !self.inheritsID { self.pendingID = "" }
        }
        guard !self.data.isEmpty else {
            if moved { items.append(.cursor(self.cursor)) }
            return
        }
        let event = ServerEvent(
            type: self.type.isEmpty ? "message" : self.type,
            data: String(decoding: self.data.dropLast(), as: UTF8.self),
            id: self.cursor)
        items.append(.event(event))
    }
}

/// One event of a stream, as an `EventSource` would dispatch it.
struct ServerEvent: Hashable, Sendable {
    var type: String
    var data: String
    /// The cursor after this event. An event without `id:` has the cursor of the block before, if the parser inherits it. Empty:
    /// no cursor.
    var id: String
}
