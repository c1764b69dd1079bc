/// Why bytes are not a JSON document that the hub takes.
///
/// The description is meant for whoever sent the bytes: it says what is wrong and where, and repeats nothing of them.
public struct JSONError: Error, Hashable, Sendable, CustomStringConvertible {
    public enum Code: Hashable, Sendable {
        /// A byte that the grammar of RFC 8259 has no place for here.
        case syntax
        /// The document stops in the middle.
        case unexpectedEnd
        /// More objects and arrays are open than ``JSONLimits/maximumDepth``.
        case depthExceeded
        /// A well-formed number that is beyond a double's range or longer than ``JSONLimits/maximumNumberLength``.
        case invalidNumber
        /// A raw control byte in a string, or an escape that JSON does not have.
        case invalidString
        /// A surrogate without its other half, as a `\u` escape or encoded in UTF-8.
        case loneSurrogate
        /// Bytes in a string that are not UTF-8.
        case invalidUTF8
        /// Something after the end of the document.
        case trailingData
    }

    public let code: Code

    /// Where in the input, counted in bytes from 0.
    public let offset: Int

    public init(code: Code, offset: Int) {
        self.code = code
        self.offset = offset
    }

    public var description: String {
        let reason =
            switch self.code {
            case .syntax: "unexpected byte"
            case .unexpectedEnd: "the document ends too early"
            case .depthExceeded: "objects and arrays are nested too deeply"
            case .invalidNumber: "the number is too large or too long"
            case .invalidString: "the string has a raw control byte or an unknown escape"
            case .loneSurrogate: "the string has a surrogate without its other half"
            case .invalidUTF8: "the string is not valid UTF-8"
            case .trailingData: "more data after the end of the document"
            }
        return "Invalid JSON at byte \(self.offset): \(reason)."
    }
}
