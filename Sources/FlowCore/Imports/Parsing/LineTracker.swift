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

    /// Number of the current line, counted from 1.
    private var line = 1

    /// Offset in the input of the first byte of the current line.
    private var start = 0

    /// Offset in the input after the CR that ended the previous line; `nil` if an LF ended that line, and in the first
    /// line.
    private var carriageEnd: Int?

    /// The position in the input of a byte of the current line, given its index in the current chunk.
    func position(at index: Int) -> InputPosition { self.position(offset: self.base + index) }

    /// The position in the input of a byte of the current line, given its offset in the input.
    func position(offset: Int) -> InputPosition {
        InputPosition(line: self.line, column: offset - self.start + 1, offset: offset)
    }

    /// Starts a line after the LF at this index of the current chunk.
    mutating func lineFeed(at index: Int) {
        self.line += 1
        self.start = self.base + index + 1
    }

    /// Starts a line after the CR or LF at this index of the current chunk. CR, LF and CRLF each end one line.
    mutating func lineEnd(_ byte: UInt8, at index: Int) {
        let end = self.base + index + 1
        if byte == UInt8(ascii: "\n"), self.carriageEnd == end - 1 { self.line -= 1 }
        self.carriageEnd = byte == UInt8(ascii: "\r") ? end : nil
        self.lineFeed(at: index)
    }

    /// Makes the first line start at this offset in the input, after a byte order mark.
    mutating func startFirstLine(at offset: Int) { self.start = offset }
}
