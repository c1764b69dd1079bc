public import FlowCore

/// What a hub makes of a token, for whoever holds its keys (`flowhub token check`).
public struct TokenReport: Sendable {
    /// The permissions that the token grants, or why the hub rejects it.
    public let result: Result<Principal, AccessError>
    /// The token's header and claims; `nil` if they cannot be read. If ``result`` is a failure, nobody has vouched for them.
    public let header: JSONText?
    public let claims: JSONText?

    init(_ token: String, _ check: () throws(AccessError) -> Principal) {
        self.result = Result(catching: check)
        let parts = token.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        self.header = parts.first.flatMap { Self.document($0) }
        self.claims = parts.count > 1 ? Self.document(parts[1]) : nil
    }

    /// The JSON object in a part of a token.
    private static func document(_ part: Substring.UTF8View) -> JSONText? {
        guard let bytes = Base64URL.decode(part), let text = try? JSONText(validating: bytes), text.isObject else { return nil }
        return text
    }
}
