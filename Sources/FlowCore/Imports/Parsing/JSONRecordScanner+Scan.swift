extension JSONRecordScanner {
    /// Lays the records in the input on the page.
    /// - Parameter taken: how many bytes were taken. If not all are, the page is full.
    mutating func read(
        _ input: Span<UInt8>, from taken: inout Int, into page: inout RecordPage, target: Int, _ findings: inout RecordScanOutput
    ) throws(RecordParseError) {
        // A record has two bytes before it, and at least one of its own and a comma or line feed behind it.
        page.reserve(2 * input.count + PlainRun.overhang)
        try page.fill { text, used throws(RecordParseError) in
            do throws(RecordParseError) {
                try self.scan(input, from: &taken, into: &text, at: &used, target: target, &findings)
            } catch {
                // However the input was cut, it is the first fault that counts.
                try self.checkSize(upTo: used)
                throw error
            }
            try self.checkSize(upTo: used)
        }
        self.lines.base += taken
    }

    /// Reads on until the input is used up, or a record has ended and the page holds `target` bytes.
    /// - Parameter output: has room for twice the input and ``PlainRun/overhang`` behind `written`.
    private mutating func scan(
        _ input: Span<UInt8>, from position: inout Int, into output: inout MutableSpan<UInt8>, at written: inout Int, target: Int,
        _ findings: inout RecordScanOutput
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
            // What goes on after the switch copies the byte, what says `continue` has done all.
            switch state {
            // MARK: Between a record's tokens
            case .value, .firstElement:
                if byte <= 0x20 {
                    try self.skip(byte, &index)
                    continue
                }
                if byte == UInt8(ascii: "]"), state == .firstElement {
                    self.nesting.close()
                    state = try self.afterValue(at: out + 1, &findings)
                } else {
                    if self.nesting.depth == 1, self.nesting.isObject {
                        findings.members.append(.init(key: self.key, value: byte))
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
                    state = try self.afterValue(at: out + 1, &findings)
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
                    state = try self.afterValue(at: out + 1, &findings)
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
                        state = try self.afterValue(at: out + 1, &findings)
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
                    state = try self.afterValue(at: out, &findings)
                    continue
                }
            case .literal:
                guard byte == UInt8(truncatingIfNeeded: self.literal) else { throw self.fault(.syntax, index) }
                self.literal >>= 8
                if self.literal == 0 { state = try self.afterValue(at: out + 1, &findings) }

            // MARK: Between records
            case .document, .firstRecord, .record, .line:
                if byte <= 0x20 {
                    try self.skip(byte, &index)
                } else if let next = try self.opening(byte, index, state) {
                    index += 1
                    state = next
                } else {
                    guard out < target else { return }
                    (output[out], output[out + 1]) = findings.separator
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
