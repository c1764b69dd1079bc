/// A pull tokenizer for one JSON document (RFC 8259) that validates everything it reads.
///
/// It checks the grammar, UTF-8, escapes, surrogates, the depth and the range of numbers. A caller that reaches
/// ``JSONToken/end`` has read a valid document. Nothing is decoded: strings and numbers are ranges of the input. The
/// tokenizer does not recurse.
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

    /// Number of bytes read so far.
    public var position: Int { self.machine.position }

    /// Number of objects and arrays that are open.
    public var depth: Int { self.machine.depth }

    /// Reads the next token; returns ``JSONToken/end`` in every call after the last one.
    ///
    /// - Throws: the first error and its position. Every later call throws the same error.
    public mutating func next() throws(JSONError) -> JSONToken {
        // Change a copy: the span borrows `self`, so `self` cannot be changed during the step.
        var machine = self.machine
        let token = try machine.next(self.bytes.span)
        self.machine = machine
        return token
    }
}
