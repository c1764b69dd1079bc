/// A reply of Redis (RESP2).
public enum RESPValue: Hashable, Sendable {
    case string([UInt8])
    case status(String)
    case integer(Int64)
    case null
    case array([RESPValue])
    /// An error reply. It starts with a code: `ERR`, `NOSCRIPT`, `LOADING` …
    case error(String)

    public var bytes: [UInt8]? {
        if case .string(let bytes) = self { bytes } else { nil }
    }

    public var text: String? {
        switch self {
        case .string(let bytes): String(decoding: bytes, as: UTF8.self)
        case .status(let text): text
        default: nil
        }
    }

    public var integer: Int64? {
        if case .integer(let number) = self { number } else { nil }
    }

    public var elements: [RESPValue]? {
        if case .array(let elements) = self { elements } else { nil }
    }

    public var isNull: Bool { self == .null }
}
