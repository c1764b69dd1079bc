/// A place in an import's input.
struct InputPosition: Hashable, Sendable {
    var line = 1
    var column = 1
    var offset = 0
}

/// Keeps count of the input's lines, so that an index in the piece that is being read can be told as a place.
struct LineTracker: Sendable {
    /// Bytes of the input before the piece.
    var base = 0

    private var line = 1

    /// The offset of the line's first byte.
    private var start = 0

    /// The offset behind the last carriage return that ended a line.
    private var carriageEnd: Int?

    func place(_ index: Int) -> InputPosition { self.place(offset: self.base + index) }

    func place(offset: Int) -> InputPosition { InputPosition(line: self.line, column: offset - self.start + 1, offset: offset) }

    /// Begins a line behind the line feed at this index.
    mutating func feed(_ index: Int) {
        self.line += 1
        self.start = self.base + index + 1
    }

    /// Begins a line behind the byte at this index, of which one or two end a line: CR, LF, or both.
    mutating func end(_ byte: UInt8, _ index: Int) {
        let end = self.base + index + 1
        if byte == UInt8(ascii: "\n"), self.carriageEnd == end - 1 { self.line -= 1 }
        self.carriageEnd = byte == UInt8(ascii: "\r") ? end : nil
        self.feed(index)
    }

    /// Begins the first line, behind a byte order mark.
    mutating func begin(at offset: Int) { self.start = offset }
}
