extension JSONRecordScanner {
    /// Writes the records of the input to the page.
    /// - Parameters:
    ///   - consumed: index in the input of the first byte to read; afterwards, of the first byte that was not consumed.
    ///     If that is not the end of the input, the page is full.
    ///   - target: number of bytes at which the page is full. It is checked only before a record.
    ///   - scanOutput: the records that ended, and their members, are added to it.
    mutating func read(
        _ input: Span<UInt8>, from consumed: inout Int, into page: inout RecordPage, target: Int,
        _ scanOutput: inout RecordScanOutput
    ) throws(RecordParseError) {
        // The scan writes two bytes, the separator, before each record. In the input, each record has at least one byte,
        // and a comma or line feed after it. So the scan writes at most twice as many bytes as it reads.
        page.reserve(2 * input.count + PlainRun.overhang)
        try page.fill { text, used throws(RecordParseError) in
            do throws(RecordParseError) {
                try self.scan(input, from: &consumed, into: &text, at: &used, target: target, &scanOutput)
            } catch {
                // If the record is too large already at this byte, report its size instead of the error: with smaller
                // chunks, the size would have been found first. The error must not depend on how the input is split.
                try self.checkSize(upTo: used)
                throw error
            }
            try self.checkSize(upTo: used)
        }
        self.lines.base += consumed
    }

    /// Scans until the input ends, or a record has ended and the page has `target` bytes.
    /// - Parameters:
    ///   - position: index in the input of the next byte to scan.
    ///   - output: the page's text. It must have room after `written` for twice the input and ``PlainRun/overhang``.
    private mutating func scan(
        _ input: Span<UInt8>, from position: inout Int, into output: inout MutableSpan<UInt8>, at written: inout Int, target: Int,
        _ scanOutput: inout RecordScanOutput
    ) throws(RecordParseError) {
        var index = position
        var out = written
        var state = self.state
        defer {
            position = index
            written = out
            self.state = state
        }
        while index < input.count {
            let byte = input[index]
            // The code after the switch copies the byte; branches that end with `continue` need no copy.
            switch state {
            // MARK: Between a record's tokens
            case .value, .firstElement:
                if byte <= 0x20 {
                    try self.skip(byte, &index)
                    continue
                }
                if byte == UInt8(ascii: "]"), state == .firstElement {
                    self.nesting.close()
                    state = try self.afterValue(at: out + 1, &scanOutput)
                } else {
                    if self.nesting.depth == 1, self.nesting.isObject {
                        scanOutput.members.append(.init(key: self.key, value: byte))
                    }
                    state = try self.value(byte, index, out)
                }
            case .key, .firstKey:
                if byte == JSONByte.quote {
                    self.isKey = true
                    if self.nesting.depth == 1 { self.key = out + 1..<out + 1 }
                    state = .string
                } else if byte <= 0x20 {
                    try self.skip(byte, &index)
                    continue
                } else if byte == UInt8(ascii: "}"), state == .firstKey {
                    self.nesting.close()
                    state = try self.afterValue(at: out + 1, &scanOutput)
                } else {
                    throw self.fault(.syntax, index)
                }
            case .colon:
                if byte <= 0x20 {
                    try self.skip(byte, &index)
                    continue
                }
                guard byte == UInt8(ascii: ":") else { throw self.fault(.syntax, index) }
                state = .value
            case .afterValue:
                if byte == UInt8(ascii: ",") {
                    state = self.nesting.isObject ? .key : .value
                } else if byte == (self.nesting.isObject ? UInt8(ascii: "}") : UInt8(ascii: "]")) {
                    self.nesting.close()
                    state = try self.afterValue(at: out + 1, &scanOutput)
                } else if byte <= 0x20 {
                    try self.skip(byte, &index)
                    continue
                } else {
                    throw self.fault(.syntax, index)
                }

            // MARK: Within a token
            case .string:
                PlainRun.copy(input.bytes, &index, into: &output, &out)
                guard index < input.count else { return }
                let byte = input[index]
                if byte == JSONByte.quote {
                    if self.isKey {
                        if self.nesting.depth == 1 { self.key = self.key.lowerBound..<out }
                        state = .colon
                    } else {
                        state = try self.afterValue(at: out + 1, &scanOutput)
                    }
                } else if !JSONByte.isPlain(byte) {
                    state = try self.special(byte, index)
                }
                output[out] = byte
                out += 1
                index += 1
                continue
            case .character, .escape, .hexadecimal, .lowBackslash, .lowLetter:
                state = try self.unicode(byte, index, state)
            case .number:
                guard try self.number(byte, index, out) else {
                    try self.checkNumber(output.span, out)
                    state = try self.afterValue(at: out, &scanOutput)
                    continue
                }
            case .literal:
                guard byte == UInt8(truncatingIfNeeded: self.literal) else { throw self.fault(.syntax, index) }
                self.literal >>= 8
                if self.literal == 0 { state = try self.afterValue(at: out + 1, &scanOutput) }

            // MARK: Between records
            case .document, .firstRecord, .record, .line:
                if byte <= 0x20 {
                    try self.skip(byte, &index)
                } else if let next = try self.opening(byte, index, state) {
                    index += 1
                    state = next
                } else {
                    guard out < target else { return }
                    (output[out], output[out + 1]) = scanOutput.separator
                    out += 2
                    self.beginRecord(index, out)
                    state = .value
                }
                continue
            case .afterRecord, .afterLine, .done:
                if byte <= 0x20 {
                    try self.skip(byte, &index)
                    if byte == UInt8(ascii: "\n"), state == .afterLine { state = .line }
                } else {
                    state = try self.following(byte, index, state)
                    index += 1
                }
                continue
            }
            output[out] = byte
            out += 1
            index += 1
        }
    }
}
