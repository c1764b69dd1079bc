/// A valid JSON document (RFC 8259) in compact form: the hub's one representation of states, event data and records.
///
/// White space between tokens is gone; numbers, escapes, the members' order and repeated members are as they were written.
/// So what a publisher sent comes back equal, and, as a string cannot hold a raw line break, the text fits one `data:`
/// line of an event stream.
///
/// Equality and hashing go by the bytes; ``isEquivalent(to:)`` goes by the meaning.
public struct JSONText: Hashable, Sendable, CustomStringConvertible {
    /// The text in UTF-8. Never empty.
    public let bytes: [UInt8]

    /// Validates and compacts in one go. Bytes that are compact already are kept, not copied.
    ///
    /// - Throws: the first thing that is wrong; see ``JSONError``.
    public init(validating bytes: [UInt8], limits: JSONLimits = .init()) throws(JSONError) {
        let whiteSpace = try Self.validate(bytes.span, limits: limits)
        self.bytes = whiteSpace == 0 ? bytes : JSONCompaction.compacted(bytes, removing: whiteSpace)
    }

    /// Validates and compacts a copy of other bytes: a line of NDJSON, a string's UTF-8.
    public init(validating bytes: some Sequence<UInt8>, limits: JSONLimits = .init()) throws(JSONError) {
        try self.init(validating: Array(bytes), limits: limits)
    }

    /// Takes the ``bytes`` of an earlier `JSONText` back, from the store or the bus, without looking at them.
    ///
    /// Other bytes are a programmer's error (a debug build stops at them): reading them is safe and gives nonsense.
    public init(trusted bytes: [UInt8]) {
        assert(Self.isCompact(bytes), "JSONText(trusted:) takes only the bytes of a JSONText")
        self.bytes = bytes
    }

    /// A part of a valid text, which needs no assertion.
    init(unchecked bytes: [UInt8]) { self.bytes = bytes }

    /// `{}`
    public static let emptyObject = JSONText(unchecked: Array("{}".utf8))

    /// `null`
    public static let null = JSONText(unchecked: Array("null".utf8))

    public var string: String { String(decoding: self.bytes, as: UTF8.self) }

    public var description: String { self.string }

    /// - Returns: how many bytes of white space could be taken out.
    private static func validate(_ bytes: Span<UInt8>, limits: JSONLimits) throws(JSONError) -> Int {
        var machine = JSONScanState(limits: limits)
        while true {
            if case .end = try machine.next(bytes) { return machine.whiteSpace }
        }
    }

    private static func isCompact(_ bytes: [UInt8]) -> Bool {
        let limits = JSONLimits(maximumDepth: .max, maximumNumberLength: .max)
        guard let whiteSpace = try? Self.validate(bytes.span, limits: limits) else { return false }
        return whiteSpace == 0
    }
}
