/// State of a scan, separate from the bytes, so that a loop can borrow the bytes once for all its tokens.
///
/// A failed step leaves a state in which the next step fails with the same error.
struct JSONScanState: Sendable {
    /// What the grammar allows next. White space may precede each.
    private enum Expectation {
        /// A value: at the start, after a member's name, after a comma in an array.
        case value
        /// A value or `]`: after `[`.
        case firstElement
        /// A member's name: after a comma in an object.
        case key
        /// A member's name or `}`: after `{`.
        case firstKey
        /// A comma or the end of the innermost container (object or array); outside of all containers, the end of the
        /// input.
        case afterValue
    }

    /// Index of the next byte to read.
    private(set) var position = 0

    /// Number of bytes of white space between tokens that were skipped.
    private(set) var whiteSpace = 0

    private var expectation = Expectation.value
    private var nesting = JSONNesting()
    private let maximumDepth: Int
    private let maximumNumberLength: Int

    init(limits: JSONLimits) {
        self.maximumDepth = min(limits.maximumDepth, JSONLimits.greatestDepth)
        self.maximumNumberLength = limits.maximumNumberLength
    }

    /// Number of objects and arrays that are open.
    var depth: Int { self.nesting.depth }

    /// Reads the next token; ``JSONToken/end`` after the last one.
    /// - Parameter bytes: the whole document, the same in each call.
    @inline(__always)
    mutating func next(_ bytes: Span<UInt8>) throws(JSONError) -> JSONToken {
        self.skipWhiteSpace(bytes)
        if self.expectation == .afterValue {
            guard self.position < bytes.count else {
                guard self.nesting.depth == 0 else { throw self.unexpected(bytes) }
                return .end
            }
            guard self.nesting.depth > 0 else { throw JSONError(code: .trailingData, offset: self.position) }
            switch bytes[self.position] {
            case UInt8(ascii: ","):
                self.position += 1
                self.expectation = self.nesting.isObject ? .key : .value
                self.skipWhiteSpace(bytes)
            case UInt8(ascii: "}") where self.nesting.isObject:
                return self.close(.objectEnd)
            case UInt8(ascii: "]") where !self.nesting.isObject:
                return self.close(.arrayEnd)
            default:
                throw self.unexpected(bytes)
            }
        }
        guard self.position < bytes.count else { throw self.unexpected(bytes) }
        switch self.expectation {
        case .key:
            return try self.key(bytes)
        case .firstKey:
            if bytes[self.position] == UInt8(ascii: "}") { return self.close(.objectEnd) }
            return try self.key(bytes)
        case .firstElement:
            if bytes[self.position] == UInt8(ascii: "]") { return self.close(.arrayEnd) }
            return try self.value(bytes)
        case .value, .afterValue:
            return try self.value(bytes)
        }
    }

    /// Reads a scalar, or the bracket that opens an object or array.
    @inline(__always)
    private mutating func value(_ bytes: Span<UInt8>) throws(JSONError) -> JSONToken {
        let start = self.position
        switch bytes[start] {
        case UInt8(ascii: "\""):
            self.position = try JSONStringGrammar.end(in: bytes, from: start)
            self.expectation = .afterValue
            return .string(start..<self.position)
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"):
            self.position = try JSONNumberGrammar.end(in: bytes, from: start, maximumLength: self.maximumNumberLength)
            self.expectation = .afterValue
            return .number(start..<self.position)
        case UInt8(ascii: "{"):
            try self.open(object: true)
            return .objectStart
        case UInt8(ascii: "["):
            try self.open(object: false)
            return .arrayStart
        case UInt8(ascii: "t"):
            return try self.literal(.true, bytes, spelling: 0x7472_7565, length: 4)
        case UInt8(ascii: "f"):
            return try self.literal(.false, bytes, spelling: 0x66_616c_7365, length: 5)
        case UInt8(ascii: "n"):
            return try self.literal(.null, bytes, spelling: 0x6e75_6c6c, length: 4)
        default:
            throw self.unexpected(bytes)
        }
    }

    /// Reads a member's name and the colon after it.
    @inline(__always)
    private mutating func key(_ bytes: Span<UInt8>) throws(JSONError) -> JSONToken {
        let start = self.position
        guard bytes[start] == UInt8(ascii: "\"") else { throw self.unexpected(bytes) }
        let end = try JSONStringGrammar.end(in: bytes, from: start)
        self.position = end
        self.skipWhiteSpace(bytes)
        guard self.position < bytes.count, bytes[self.position] == UInt8(ascii: ":") else {
            let error = self.unexpected(bytes)
            self.position = start
            throw error
        }
        self.position += 1
        self.expectation = .value
        return .key(start..<end)
    }

    /// Reads `true`, `false` or `null`, whose first byte the caller has checked.
    /// - Parameters:
    ///   - spelling: the literal's ASCII bytes as one big-endian number of `length` bytes: `0x7472_7565` for `true`.
    ///   - length: number of bytes of the literal.
    private mutating func literal(
        _ token: JSONToken, _ bytes: Span<UInt8>, spelling: UInt64, length: Int
    ) throws(JSONError) -> JSONToken {
        for index in 1..<length {
            let offset = self.position + index
            guard offset < bytes.count else { throw JSONError(code: .unexpectedEnd, offset: offset) }
            let expected = UInt8(truncatingIfNeeded: spelling >> (8 * (length - 1 - index)))
            guard bytes[offset] == expected else { throw JSONError(code: .syntax, offset: offset) }
        }
        self.position += length
        self.expectation = .afterValue
        return token
    }

    /// Reads the bracket that opens an object, or an array if `object` is `false`. Checks the depth.
    private mutating func open(object: Bool) throws(JSONError) {
        guard self.nesting.depth < self.maximumDepth else { throw JSONError(code: .depthExceeded, offset: self.position) }
        self.nesting.open(object: object)
        self.position += 1
        self.expectation = object ? .firstKey : .firstElement
    }

    /// Reads the bracket that closes the innermost object or array.
    /// - Returns: `token`.
    private mutating func close(_ token: JSONToken) -> JSONToken {
        self.nesting.close()
        self.position += 1
        self.expectation = .afterValue
        return token
    }

    /// Advances to the next byte that is not white space, and counts the skipped bytes in ``whiteSpace``.
    @inline(__always)
    private mutating func skipWhiteSpace(_ bytes: Span<UInt8>) {
        let start = self.position
        var index = start
        while index < bytes.count, JSONByte.isWhiteSpace(bytes[index]) { index += 1 }
        self.position = index
        self.whiteSpace += index - start
    }

    /// The error for the byte at ``position``, or for the end of the input if no byte is left.
    private func unexpected(_ bytes: Span<UInt8>) -> JSONError {
        JSONError(code: self.position < bytes.count ? .syntax : .unexpectedEnd, offset: self.position)
    }
}
