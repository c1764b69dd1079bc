/// A position in an import's input: line and column, counted from 1, and byte offset, counted from 0.
struct InputPosition: Hashable, Sendable {
    var line = 1
    var column = 1
    var offset = 0
}

/// Tracks the lines of the input, to convert an index in the current chunk to a position in the input.
struct LineTracker: Sendable {
    /// Number of bytes of the input before the current chunk.
    var base = 0

    private var line = 1

    /// Offset of the first byte of the current line.
    private var start = 0

    /// Offset after the last carriage return that ended a line.
    private var carriageEnd: Int?

    func position(at index: Int) -> InputPosition { self.position(offset: self.base + index) }

    func position(offset: Int) -> InputPosition {
        InputPosition(line: self.line, column: offset - self.start + 1, offset: offset)
    }

    /// Starts a line after the line feed at this index.
    mutating func lineFeed(at index: Int) {
        self.line += 1
        self.start = self.base + index + 1
    }

    /// Starts a line after the CR or LF at this index. CR, LF and CRLF each end one line.
    mutating func lineEnd(_ byte: UInt8, at index: Int) {
        let end = self.base + index + 1
        if byte == UInt8(ascii: "\n"), self.carriageEnd == end - 1 { self.line -= 1 }
        self.carriageEnd = byte == UInt8(ascii: "\r") ? end : nil
        self.lineFeed(at: index)
    }

    /// Starts the first line, after a byte order mark.
    mutating func startFirstLine(at offset: Int) { self.start = offset }
}
