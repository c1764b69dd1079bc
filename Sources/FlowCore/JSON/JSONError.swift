/// Reason why bytes are rejected as a JSON document.
///
/// The description is for the client that sent the bytes. It says what is wrong and where, and repeats none of the
/// bytes.
public struct JSONError: Error, Hashable, Sendable, CustomStringConvertible {
    public enum Code: Hashable, Sendable {
        /// A byte that the grammar of RFC 8259 does not allow here.
        case syntax
        /// The document ends before it is complete.
        case unexpectedEnd
        /// More objects and arrays are open than ``JSONLimits/maximumDepth``.
        case depthExceeded
        /// A well-formed number that is out of the range of a double or longer than
        /// ``JSONLimits/maximumNumberLength``.
        case invalidNumber
        /// A raw control byte in a string, or an escape that JSON does not define.
        case invalidString
        /// A UTF-16 surrogate without the other half of its pair, written as a `\u` escape or encoded in UTF-8.
        case loneSurrogate
        /// Bytes in a string that are not UTF-8.
        case invalidUTF8
        /// Bytes other than white space after the end of the document.
        case trailingData
    }

    public let code: Code

    /// Position of the error in the input, in bytes, counted from 0.
    public let offset: Int

    public init(code: Code, offset: Int) {
        self.code = code
        self.offset = offset
    }

    public var description: String {
        let reason =
            switch self.code {
            case .syntax: "unexpected byte"
            case .unexpectedEnd: "unexpected end of the document"
            case .depthExceeded: "objects and arrays are nested too deeply"
            case .invalidNumber: "the number is outside the range of a double or has too many characters"
            case .invalidString: "the string has a raw control byte or an invalid escape"
            case .loneSurrogate: "the string has a surrogate without its other half"
            case .invalidUTF8: "the string is not valid UTF-8"
            case .trailingData: "more data after the end of the document"
            }
        return "Invalid JSON at byte \(self.offset): \(reason)."
    }
}
