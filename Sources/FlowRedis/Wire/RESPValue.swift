/// A reply of Redis (RESP2).
public enum RESPValue: Hashable, Sendable {
    /// A bulk string reply: any bytes.
    case string([UInt8])
    /// A simple string reply, such as `OK` or `PONG`.
    case status(String)
    case integer(Int64)
    /// A null reply, such as that of `GET` for a missing key.
    case null
    case array([RESPValue])
    /// An error reply. It starts with a code: `ERR`, `NOSCRIPT`, `LOADING` …
    case error(String)

    /// The bytes of a string reply; `nil` for every other reply.
    public var bytes: [UInt8]? {
        if case .string(let bytes) = self { bytes } else { nil }
    }

    /// The text of a string or status reply, with invalid UTF-8 repaired; `nil` for every other reply.
    public var text: String? {
        switch self {
        case .string(let bytes): String(decoding: bytes, as: UTF8.self)
        case .status(let text): text
        default: nil
        }
    }

    /// The number of an integer reply; `nil` for every other reply.
    public var integer: Int64? {
        if case .integer(let number) = self { number } else { nil }
    }

    /// The elements of an array reply; `nil` for every other reply.
    public var elements: [RESPValue]? {
        if case .array(let elements) = self { elements } else { nil }
    }

    public var isNull: Bool { self == .null }
}
