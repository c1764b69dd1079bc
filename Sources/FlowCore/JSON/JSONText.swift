/// A valid JSON document (RFC 8259) in compact form: the hub's only representation of states, event data and
/// imports' records.
///
/// White space between tokens is removed. Numbers, escapes, the order of members and repeated members are kept as
/// written, so clients receive exactly what a publisher sent. A string cannot contain a raw line break, so the text
/// fits into one `data:` line of an event stream.
///
/// Equality and hashing compare the bytes; ``isEquivalent(to:)`` compares the meaning.
public struct JSONText: Hashable, Sendable, CustomStringConvertible {
    /// The text in UTF-8. Never empty.
    public let bytes: [UInt8]

    /// Validates and compacts the bytes. Bytes that are compact already are not copied.
    ///
    /// - Throws: ``JSONError`` for the first error in the text.
    public init(validating bytes: [UInt8], limits: JSONLimits = .init()) throws(JSONError) {
        let whiteSpace = try Self.validate(bytes.span, limits: limits)
        self.bytes = whiteSpace == 0 ? bytes : JSONCompaction.compacted(bytes, removing: whiteSpace)
    }

    /// Validates and compacts a copy of other bytes, such as a line of NDJSON or the UTF-8 of a string.
    public init(validating bytes: some Sequence<UInt8>, limits: JSONLimits = .init()) throws(JSONError) {
        try self.init(validating: Array(bytes), limits: limits)
    }

    /// Creates a text from the ``bytes`` of an earlier `JSONText`, read from the store or the bus, without validating
    /// them.
    ///
    /// Any other bytes are a programming error, which traps in a debug build. In a release build reading such a text
    /// is memory-safe and gives meaningless values.
    public init(trusted bytes: [UInt8]) {
        assert(Self.isCompact(bytes), "JSONText(trusted:) requires the bytes of a JSONText")
        self.bytes = bytes
    }

    /// Creates a text from bytes that are known to be valid and compact, such as a value within a `JSONText`. Never checks
    /// them, unlike ``init(trusted:)``, which does so in a debug build.
    init(unchecked bytes: [UInt8]) { self.bytes = bytes }

    /// `{}`
    public static let emptyObject = JSONText(unchecked: Array("{}".utf8))

    /// `null`
    public static let null = JSONText(unchecked: Array("null".utf8))

    public var string: String { String(decoding: self.bytes, as: UTF8.self) }

    public var description: String { self.string }

    /// Validates a text.
    /// - Returns: the number of bytes of white space between tokens.
    private static func validate(_ bytes: Span<UInt8>, limits: JSONLimits) throws(JSONError) -> Int {
        var machine = JSONScanState(limits: limits)
        while true {
            if case .end = try machine.next(bytes) { return machine.whiteSpace }
        }
    }

    /// Whether the bytes are a valid document without white space between tokens, nested at most
    /// ``JSONLimits/greatestDepth`` deep.
    private static func isCompact(_ bytes: [UInt8]) -> Bool {
        let limits = JSONLimits(maximumDepth: .max, maximumNumberLength: .max)
        guard let whiteSpace = try? Self.validate(bytes.span, limits: limits) else { return false }
        return whiteSpace == 0
    }
}
