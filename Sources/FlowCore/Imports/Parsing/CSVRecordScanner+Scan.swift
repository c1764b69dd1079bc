extension CSVRecordScanner {
    /// Converts the rows of the input and writes them to the page.
    /// - Parameters:
    ///   - consumed: index in the input of the first byte to read; afterwards, of the first byte that was not consumed.
    ///     If that is not the end of the input, the page is full.
    ///   - target: number of bytes at which the page is full. It is checked only before a row.
    ///   - scanOutput: the rows that ended are added to it.
    mutating func read(
        _ input: Span<UInt8>, from consumed: inout Int, into page: inout RecordPage, target: Int,
        _ scanOutput: inout RecordScanOutput
    ) throws(RecordParseError) {
        var room = 64
        while room > 0 {
            page.reserve(room + 2 * (input.count - consumed))
            try page.fill { text, used throws(RecordParseError) in
                do throws(RecordParseError) {
                    room = try self.scan(input, from: &consumed, into: &text, at: &used, target: target, &scanOutput)
                } catch {
                    // If the row is too large already at this byte, report its size instead of the error: with smaller
                    // chunks, the size would have been found first. The error must not depend on how the input is split.
                    try self.checkSize(upTo: used)
                    throw error
                }
                try self.checkSize(upTo: used)
            }
            // The next scan needs `room` free bytes to continue. Reserve 4 KiB more: a row with many missing cells gets a
            // `null` for each, and without a reserve the scan could return for lack of room at nearly every one of them.
            if room > 0 { room += 1 << 12 }
        }
        self.lines.base += consumed
    }

    /// Scans until the input ends, or a row has ended and the page has `target` bytes, or the page has no room left.
    /// - Parameters:
    ///   - position: index in the input of the next byte to scan.
    ///   - output: the page's text, with free bytes from `written` on.
    /// - Returns: number of free bytes needed to continue; 0 if the scan ended for another reason.
    private mutating func scan(
        _ input: Span<UInt8>, from position: inout Int, into output: inout MutableSpan<UInt8>, at written: inout Int, target: Int,
        _ scanOutput: inout RecordScanOutput
    ) throws(RecordParseError) -> Int {
        let delimiter = self.delimiter
        var index = position
        var out = written
        var state = self.state
        defer {
            position = index
            written = out
            self.state = state
        }
        while index < input.count {
            guard output.count - out >= 32 else { return 64 }
            let byte = input[index]
            switch state {
            case .row:
                if Self.endsLine(byte) {
                    self.lines.lineEnd(byte, at: index)
                    index += 1
                    continue
                }
                guard out < target else { return 0 }
                (output[out], output[out + 1]) = scanOutput.separator
                out += 2
                self.beginRecord(index, out)
                state = .cell
            case .cell:
                let room = self.room(forKeyOf: self.cells)
                guard output.count - out >= room else { return room }
                guard self.cells < self.maximumCells else { throw self.fault(.tooManyColumns, index) }
                self.beginCell(into: &output, at: &out)
                if byte == JSONByte.quote {
                    self.openQuote(index)
                    index += 1
                    state = .quoted
                } else {
                    state = .plain
                }
            case .plain:
                PlainRun.copy(input.bytes, &index, into: &output, &out, stop: delimiter)
                guard index < input.count, output.count - out >= 32 else { continue }
                let byte = input[index]
                if byte == delimiter {
                    try self.endCell(into: &output, at: &out)
                    index += 1
                    state = .cell
                } else if Self.endsLine(byte) {
                    try self.endCell(into: &output, at: &out)
                    state = .rowEnd
                } else {
                    state = try self.text(byte, index, into: &output, at: &out, state)
                    index += 1
                }
            case .quoted:
                PlainRun.copy(input.bytes, &index, into: &output, &out)
                guard index < input.count, output.count - out >= 32 else { continue }
                let byte = input[index]
                if byte == JSONByte.quote {
                    try self.closeQuote(at: out)
                    state = .quote
                } else {
                    if Self.endsLine(byte) { self.lines.lineEnd(byte, at: index) }
                    state = try self.text(byte, index, into: &output, at: &out, state)
                }
                index += 1
            case .quote:
                if byte == JSONByte.quote {
                    self.reopenQuote()
                    state = try self.text(byte, index, into: &output, at: &out, .quoted)
                    index += 1
                } else {
                    state = .plain
                }
            case .character:
                state = try self.character(byte) ? (self.isQuoted ? .quoted : .plain) : .character
                output[out] = byte
                out += 1
                index += 1
            case .rowEnd:
                while self.cells < self.columns.count {
                    let room = self.room(forKeyOf: self.cells)
                    guard output.count - out >= room else { return room }
                    self.addNull(into: &output, at: &out)
                }
                if self.filled > self.columns.count { Self.write(UInt8(ascii: "]"), into: &output, at: &out) }
                Self.write(UInt8(ascii: "}"), into: &output, at: &out)
                try self.endRecord(at: out, &scanOutput)
                state = .row
            }
        }
        return 0
    }

    /// Whether the byte is CR or LF.
    @inline(__always)
    private static func endsLine(_ byte: UInt8) -> Bool { byte == UInt8(ascii: "\n") || byte == UInt8(ascii: "\r") }

    // MARK: Writing

    /// Writes one byte to the page.
    @inline(__always)
    private static func write(_ byte: UInt8, into output: inout MutableSpan<UInt8>, at out: inout Int) {
        output[out] = byte
        out += 1
    }

    /// Writes what precedes a cell's text: the key of its column and the opening quote. Of the cells beyond the last
    /// column, only the first has a key, that of the array `_extra`; the others have a comma instead.
    @inline(__always)
    private mutating func beginCell(into output: inout MutableSpan<UInt8>, at out: inout Int) {
        if self.cells <= self.columns.count {
            self.writeKey(into: &output, at: &out)
        } else {
            Self.write(UInt8(ascii: ","), into: &output, at: &out)
        }
        Self.write(JSONByte.quote, into: &output, at: &out)
    }

    /// Writes the closing quote of a cell.
    @inline(__always)
    private mutating func endCell(into output: inout MutableSpan<UInt8>, at out: inout Int) throws(RecordParseError) {
        Self.write(JSONByte.quote, into: &output, at: &out)
        self.cells += 1
        self.filled = self.cells
        try self.checkSize(upTo: out)
    }

    /// Writes the member of a missing cell, whose value is `null`.
    private mutating func addNull(into output: inout MutableSpan<UInt8>, at out: inout Int) {
        self.writeKey(into: &output, at: &out)
        for byte in "null".utf8 { Self.write(byte, into: &output, at: &out) }
        self.cells += 1
    }

    /// Writes the key of the next cell's column. It copies blocks of 16 bytes, so up to 15 bytes after the key are
    /// overwritten, too.
    @inline(__always)
    private func writeKey(into output: inout MutableSpan<UInt8>, at out: inout Int) {
        let key = self.columns.key(self.cells)
        let keys = self.columns.keys.span.bytes
        var bytes = output.mutableBytes
        for offset in stride(from: 0, to: key.count, by: 16) {
            let block = keys.unsafeLoadUnaligned(fromByteOffset: key.lowerBound + offset, as: SIMD16<UInt8>.self)
            bytes.storeBytes(of: block, toByteOffset: out + offset, as: SIMD16<UInt8>.self)
        }
        // The first member is preceded by a brace instead of a comma.
        if self.cells == 0 { output[out] = UInt8(ascii: "{") }
        out += key.count
    }

    /// Writes a byte of a cell's text, escaped if JSON requires it.
    /// - Parameter state: the state if the byte completes a character: `plain` or `quoted`.
    /// - Returns: the state for the next byte.
    private mutating func text(
        _ byte: UInt8, _ index: Int, into output: inout MutableSpan<UInt8>, at out: inout Int, _ state: State
    ) throws(RecordParseError) -> State {
        if byte >= 0x80 {
            try self.beginCharacter(byte, index)
            Self.write(byte, into: &output, at: &out)
            return .character
        }
        let escape: UInt8
        switch byte {
        case JSONByte.quote, JSONByte.backslash: escape = byte
        case UInt8(ascii: "\n"): escape = UInt8(ascii: "n")
        case UInt8(ascii: "\r"): escape = UInt8(ascii: "r")
        case UInt8(ascii: "\t"): escape = UInt8(ascii: "t")
        case 0x20...:
            Self.write(byte, into: &output, at: &out)
            return state
        default:
            for byte in "\\u00".utf8 { Self.write(byte, into: &output, at: &out) }
            Self.write(UInt8(ascii: byte < 0x10 ? "0" : "1"), into: &output, at: &out)
            Self.write(JSONByte.digit(byte & 0xF), into: &output, at: &out)
            return state
        }
        Self.write(JSONByte.backslash, into: &output, at: &out)
        Self.write(escape, into: &output, at: &out)
        return state
    }
}
