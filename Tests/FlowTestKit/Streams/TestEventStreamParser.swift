/// A parser for event streams (WHATWG HTML, section 9.2.6). It also keeps what a browser would not show: blocks with only an
/// id, and the number of comments.
public struct TestEventStreamParser: Sendable {
    private var line: [UInt8] = []
    private var lastWasReturn = false
    private var isFirstLine = true
    private var block = EventBlock()
    private var isEmptyBlock = true

    /// What a browser would send as `Last-Event-ID`.
    public private(set) var lastEventID = ""
    /// Number of lines that began with a colon.
    public private(set) var comments = 0

    /// - Parameter lastEventID: the last id of an earlier connection.
    public init(lastEventID: String = "") { self.lastEventID = lastEventID }

    /// - Returns: the blocks that these bytes complete. An incomplete block at the end of the stream is dropped.
    public mutating func feed(_ bytes: some Sequence<UInt8>) -> [EventBlock] {
        var blocks: [EventBlock] = []
        for byte in bytes {
            switch byte {
            case 0x0a where self.lastWasReturn:
                self.lastWasReturn = false
            case 0x0a, 0x0d:
                self.lastWasReturn = byte == 0x0d
                if let block = self.endLine() { blocks.append(block) }
            default:
                self.lastWasReturn = false
                self.line.append(byte)
            }
        }
        return blocks
    }

    private mutating func endLine() -> EventBlock? {
        var line = self.line[...]
        defer { self.line.removeAll(keepingCapacity: true) }
        if self.isFirstLine {
            self.isFirstLine = false
            if line.starts(with: [0xef, 0xbb, 0xbf]) { line = line.dropFirst(3) }
        }
        if line.isEmpty { return self.dispatch() }
        let colon = line.firstIndex(of: UInt8(ascii: ":"))
        if colon == line.startIndex {
            self.comments += 1
            return nil
        }
        let name = String(decoding: line[..<(colon ?? line.endIndex)], as: UTF8.self)
        var value = colon.map { line[($0 + 1)...] } ?? []
        if value.first == UInt8(ascii: " ") { value = value.dropFirst() }
        self.processField(name, String(decoding: value, as: UTF8.self))
        return nil
    }

    private mutating func processField(_ field: String, _ value: String) {
        switch field {
        case "event": self.block.event = value.isEmpty ? "message" : value
        case "data": self.block.data = self.block.data.map { "\($0)\n\(value)" } ?? value
        case "id" where !value.utf8.contains(0): self.block.id = value
        case "retry" where !value.isEmpty && value.utf8.allSatisfy({ (0x30...0x39).contains($0) }):
            self.block.retry = Int(value)
        default: return
        }
        self.isEmptyBlock = false
    }

    private mutating func dispatch() -> EventBlock? {
        defer {
            self.block = EventBlock()
            self.isEmptyBlock = true
        }
        if self.isEmptyBlock { return nil }
        // Set only here, so that the id of an incomplete block is never used.
        if let id = self.block.id { self.lastEventID = id }
        self.block.at = .now
        return self.block
    }
}
