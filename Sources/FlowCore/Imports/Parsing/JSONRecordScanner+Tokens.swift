/// Progress within a `\u` escape or a character of several bytes.
struct JSONUnicodeState: Sendable {
    /// Number of bytes of the character, or of digits of the escape, that must follow.
    var remaining = 0
    /// Allowed range of the next byte of a character.
    var next: ClosedRange<UInt8> = 0x80...0xBF
    /// Value of the escape's digits so far.
    var unit: UInt32 = 0
    /// Offset in the input of the escape that is the first half of a surrogate pair; `nil` unless the second half must
    /// follow.
    var highOffset: Int?
}

/// Progress within a number.
struct JSONNumberState: Sendable {
    /// The part of the number to which the latest byte belongs.
    enum Phase: Sendable {
        /// The minus sign before the first digit.
        case minus
        /// A zero as the only digit before the point or exponent.
        case zero
        /// The digits before the point or exponent, the first one not zero.
        case integer
        /// The decimal point.
        case point
        /// The digits after the point.
        case fraction
        /// The letter `e` or `E`.
        case exponent
        /// The sign of the exponent.
        case exponentSign
        /// The digits of the exponent.
        case exponentDigits

        /// Whether the number may end here.
        @inline(__always)
        var isComplete: Bool {
            switch self {
            case .zero, .integer, .fraction, .exponentDigits: true
            case .minus, .point, .exponent, .exponentSign: false
            }
        }
    }

    var phase = Phase.minus
    /// Start of the number in the page.
    var start = 0
    /// Start in the page of the digits of the number's exponent.
    var exponent = 0
}

extension JSONRecordScanner {
    /// Starts a value and returns the state after its first byte.
    /// - Parameters:
    ///   - index: index of the byte in the current chunk of input.
    ///   - out: index of the byte in the page.
    mutating func value(_ byte: UInt8, _ index: Int, _ out: Int) throws(RecordParseError) -> State {
        switch byte {
        case JSONByte.quote:
            self.isKey = false
            return .string
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"):
            self.tokenOffset = self.lines.base + index
            let isZero = byte == UInt8(ascii: "0")
            self.number.phase = isZero ? .zero : JSONByte.isDigit(byte) ? .integer : .minus
            self.number.start = out
            return .number
        case UInt8(ascii: "{"), UInt8(ascii: "["):
            guard self.nesting.depth < self.maximumDepth else { throw self.fault(.tooDeep, index) }
            let isObject = byte == UInt8(ascii: "{")
            self.nesting.open(object: isObject)
            return isObject ? .firstKey : .firstElement
        case UInt8(ascii: "t"): self.literal = 0x65_7572
        case UInt8(ascii: "f"): self.literal = 0x6573_6c61
        case UInt8(ascii: "n"): self.literal = 0x6c_6c75
        default: throw self.fault(.syntax, index)
        }
        return .literal
    }

    // MARK: Strings

    /// The state after a byte of a string that needs special handling: a backslash, a control byte, which is an error,
    /// or the first byte of a character of several bytes.
    /// - Parameter index: index of the byte in the current chunk of input.
    mutating func special(_ byte: UInt8, _ index: Int) throws(RecordParseError) -> State {
        self.tokenOffset = self.lines.base + index
        if byte == JSONByte.backslash { return .escape }
        guard byte >= 0x80 else { throw self.tokenFault(.rawControl) }
        guard let lead = UTF8Lead(byte) else { throw self.tokenFault(.invalidUTF8) }
        self.unicode.remaining = lead.length - 1
        self.unicode.next = lead.second
        return .character
    }

    /// The state after a byte within an escape or a character of several bytes.
    /// - Parameters:
    ///   - index: index of the byte in the current chunk of input.
    ///   - state: the state before the byte.
    mutating func unicode(_ byte: UInt8, _ index: Int, _ state: State) throws(RecordParseError) -> State {
        switch state {
        case .character:
            guard self.unicode.next.contains(byte) else { throw self.tokenFault(.invalidUTF8) }
            self.unicode.next = 0x80...0xBF
            self.unicode.remaining -= 1
            return self.unicode.remaining == 0 ? .string : .character
        case .escape:
            return try self.escape(byte)
        case .hexadecimal:
            guard let digit = JSONByte.hexadecimal(byte) else { throw self.tokenFault(.unknownEscape) }
            self.unicode.unit = self.unicode.unit << 4 | digit
            self.unicode.remaining -= 1
            return self.unicode.remaining == 0 ? try self.codeUnit() : .hexadecimal
        case .lowBackslash, .lowLetter:
            // After the first half of a surrogate pair, only another `\u` escape can complete the pair.
            let isBackslash = state == .lowBackslash
            guard byte == (isBackslash ? JSONByte.backslash : UInt8(ascii: "u")) else { throw self.pairFault() }
            if isBackslash { self.tokenOffset = self.lines.base + index }
            return isBackslash ? .lowLetter : self.digits()
        default:
            preconditionFailure("\(state) is not within an escape or a character")
        }
    }

    /// The state after the byte that follows a backslash.
    private mutating func escape(_ byte: UInt8) throws(RecordParseError) -> State {
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"), UInt8(ascii: "b"), UInt8(ascii: "f"),
            UInt8(ascii: "n"), UInt8(ascii: "r"), UInt8(ascii: "t"):
            return .string
        case UInt8(ascii: "u"):
            return self.digits()
        default:
            throw self.tokenFault(.unknownEscape)
        }
    }

    /// Starts the four digits of a `\u` escape.
    private mutating func digits() -> State {
        self.unicode.unit = 0
        self.unicode.remaining = 4
        return .hexadecimal
    }

    /// The state after the last digit of a `\u` escape.
    /// - Throws: an error if the escape is half of a surrogate pair without the other half.
    private mutating func codeUnit() throws(RecordParseError) -> State {
        switch (self.unicode.unit, self.unicode.highOffset) {
        case (0xDC00...0xDFFF, .some):
            self.unicode.highOffset = nil
            return .string
        case (_, .some):
            throw self.pairFault()
        case (0xD800...0xDBFF, nil):
            self.unicode.highOffset = self.tokenOffset
            return .lowBackslash
        case (0xDC00...0xDFFF, nil):
            throw self.tokenFault(.loneSurrogate)
        default:
            return .string
        }
    }

    /// An error at the first half of a surrogate pair whose second half does not follow.
    private func pairFault() -> RecordParseError {
        RecordParseError(kind: .loneSurrogate, position: self.lines.position(offset: self.unicode.highOffset ?? self.tokenOffset))
    }

    // MARK: Numbers

    /// Processes a byte after the first byte of a number.
    /// - Parameters:
    ///   - index: index of the byte in the current chunk of input.
    ///   - out: index of the byte in the page.
    /// - Returns: whether the byte belongs to the number. If not, the number has ended before it.
    @inline(__always)
    mutating func number(_ byte: UInt8, _ index: Int, _ out: Int) throws(RecordParseError) -> Bool {
        if JSONByte.isDigit(byte) {
            switch self.number.phase {
            case .integer, .fraction, .exponentDigits: break
            case .minus: self.number.phase = byte == UInt8(ascii: "0") ? .zero : .integer
            case .zero: throw self.fault(.syntax, index)
            case .point: self.number.phase = .fraction
            case .exponent, .exponentSign:
                self.number.phase = .exponentDigits
                self.number.exponent = out
            }
        } else {
            switch (byte, self.number.phase) {
            case (UInt8(ascii: "."), .zero), (UInt8(ascii: "."), .integer): self.number.phase = .point
            case (UInt8(ascii: "e"), let phase) where phase.isComplete && phase != .exponentDigits,
                (UInt8(ascii: "E"), let phase) where phase.isComplete && phase != .exponentDigits:
                self.number.phase = .exponent
            case (UInt8(ascii: "+"), .exponent), (UInt8(ascii: "-"), .exponent): self.number.phase = .exponentSign
            case (_, let phase):
                guard phase.isComplete else { throw self.fault(.syntax, index) }
                return false
            }
        }
        guard out - self.number.start < self.maximumNumberLength else { throw self.tokenFault(.longNumber) }
        return true
    }

    /// Checks that the number that ends at `out` in the page is within the range of a double.
    /// - Parameter text: the page's text.
    @inline(__always)
    func checkNumber(_ text: Span<UInt8>, _ out: Int) throws(RecordParseError) {
        // As in `JSONNumberGrammar`: a number of at most 200 bytes, with at most two digits in its exponent, is always within
        // the range.
        let isLong = out - self.number.start > 200
        guard isLong || self.number.phase == .exponentDigits && out - self.number.exponent > 2 else { return }
        guard JSONNumberGrammar.isFinite(text, self.number.start..<out) else { throw self.tokenFault(.hugeNumber) }
    }
}
