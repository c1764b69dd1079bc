/// A pull tokenizer for one JSON document (RFC 8259) that validates everything it passes.
///
/// The grammar, UTF-8, escapes, surrogates, the depth and the numbers' range are checked, so whoever reads to
/// ``JSONToken/end`` has seen a valid document. Nothing is decoded: strings and numbers are ranges of the input. It
/// does not recurse.
///
/// ```swift
/// var scanner = JSONScanner(bytes)
/// while true {
///     switch try scanner.next() {
///     case .key(let range): ...
///     case .end: return
///     default: ...
///     }
/// }
/// ```
public struct JSONScanner: Sendable {
    /// The scanned input, which the tokens' ranges refer to.
    public let bytes: [UInt8]

    private var machine: JSONScanState

    public init(_ bytes: [UInt8], limits: JSONLimits = .init()) {
        self.bytes = bytes
        self.machine = JSONScanState(limits: limits)
    }

    /// How many bytes were read so far.
    public var position: Int { self.machine.position }

    /// How many objects and arrays are open.
    public var depth: Int { self.machine.depth }

    /// The next token; ``JSONToken/end`` again and again after the last.
    ///
    /// - Throws: what is wrong and where. Every later call throws the same.
    public mutating func next() throws(JSONError) -> JSONToken {
        // A copy, since the span borrows `self`, which the step would change.
        var machine = self.machine
        let token = try machine.next(self.bytes.span)
        self.machine = machine
        return token
    }
}
