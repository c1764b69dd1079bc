import FlowCore
import HTTPTypes

/// The id of a request. It is in the response, in its problem document and in the log, so that the three can be related.
enum RequestID {
    /// Maximum length of an id that a proxy has sent.
    private static let maximumLength = 128

    /// A new id: 13 characters for 64 random bits. A string of up to 15 bytes needs no allocation.
    static func make() -> String {
        var bits = UInt64.random(in: .min ... .max)
        return String(unsafeUninitializedCapacity: 13) { buffer in
            for index in 0..<13 {
                let digit = UInt8(truncatingIfNeeded: bits & 31)
                buffer[index] = digit < 10 ? UInt8(ascii: "0") + digit : UInt8(ascii: "a") + digit - 10
                bits >>= 5
            }
            return 13
        }
    }

    /// The id that a proxy has sent in `X-Request-ID`; `nil` unless there is one that has the characters of an identifier.
    static func sent(in fields: HTTPFields) -> String? {
        guard let id = fields[.requestID], Identifier.isValid(id.utf8, maximumLength: Self.maximumLength) else { return nil }
        return id
    }
}

extension HTTPField.Name {
    static let requestID = Self.constant("X-Request-ID")
}
