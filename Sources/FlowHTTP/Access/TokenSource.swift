import FlowCore

/// The part of a request in which its token was found.
public enum TokenSource: Sendable, Hashable {
    /// `Authorization: Bearer` (RFC 6750, 2.1).
    case bearer
    /// `?access_token=`, for an `EventSource`, which can set no header (RFC 6750, 2.3).
    case query
    /// The cookie `flowhub_token`. A browser adds it to every request, so requests that modify data need an allowed `Origin`.
    case cookie

    public static let cookieName = "flowhub_token"
    public static let queryName = "access_token"

    /// The request's token: from the header, else from the query, else from the cookie.
    ///
    /// The header and the query are set on purpose, while a browser adds the cookie to every request. If the cookie came
    /// first, a page with an old `HttpOnly` cookie could never use another token. An `Authorization` field with another
    /// scheme, such as a proxy's `Basic`, is ignored.
    ///
    /// - Parameters:
    ///   - query: the part of the target after the `?`, still percent-encoded.
    /// - Returns: `nil` if the request has no token. An empty token is returned as an empty string, which is invalid: a
    ///   malformed header must not lead to the use of the cookie.
    public static func token(
        authorization: String?,
        cookie: String?,
        query: Substring?
    ) -> (token: String, source: TokenSource)? {
        if let authorization, let token = Self.bearerToken(authorization) { return (token, .bearer) }
        if let query, let token = Self.queryToken(query) { return (token, .query) }
        if let cookie, let token = Self.cookieToken(cookie) { return (token, .cookie) }
        return nil
    }

    /// The credentials in an `Authorization` field; `nil` for a scheme other than `Bearer`.
    private static func bearerToken(_ header: String) -> String? {
        let text = header.utf8.drop { Self.isBlank($0) }
        let scheme = text.prefix { !Self.isBlank($0) }
        guard String(decoding: scheme, as: UTF8.self).lowercased() == "bearer" else { return nil }
        return Self.trimmed(text.dropFirst(scheme.count))
    }

    /// The value of the first cookie ``cookieName``, without quotes; `nil` if there is none.
    private static func cookieToken(_ header: String) -> String? {
        for pair in header.utf8.split(separator: UInt8(ascii: ";")) {
            guard let equals = pair.firstIndex(of: UInt8(ascii: "=")),
                Self.trimmed(pair[..<equals]) == Self.cookieName
            else { continue }
            let value = Self.trimmed(pair[pair.index(after: equals)...])
            // A cookie's value may be quoted (RFC 6265, 4.1.1).
            guard value.utf8.count >= 2, value.hasPrefix("\""), value.hasSuffix("\"") else { return value }
            return String(value.dropFirst().dropLast())
        }
        return nil
    }

    /// The decoded value of the first parameter ``queryName``; `nil` if there is none.
    private static func queryToken(_ query: Substring) -> String? {
        for pair in query.utf8.split(separator: UInt8(ascii: "&")) {
            let name = pair.prefix { $0 != UInt8(ascii: "=") }
            guard name.endIndex < pair.endIndex, Self.decoded(name) == Self.queryName else { continue }
            return Self.decoded(pair[pair.index(after: name.endIndex)...])
        }
        return nil
    }

    /// Decodes percent escapes. What cannot be decoded is kept: no valid token contains a `%`, so the verifier rejects it.
    private static func decoded(_ part: Substring.UTF8View) -> String {
        PercentDecoding.text(Substring(part), plusIsSpace: false) ?? String(Substring(part))
    }

    /// The text without spaces and tabs at both ends.
    private static func trimmed(_ part: Substring.UTF8View) -> String {
        var part = part.drop { Self.isBlank($0) }
        while let last = part.last, Self.isBlank(last) { part.removeLast() }
        return String(decoding: part, as: UTF8.self)
    }

    /// Whether a byte is a space or a tab.
    private static func isBlank(_ byte: UInt8) -> Bool {
        byte == UInt8(ascii: " ") || byte == UInt8(ascii: "\t")
    }
}

extension TokenSource {
    /// The target of a request with the value of each `access_token` replaced by `***`, for logs.
    ///
    /// Also replaces the value of a parameter whose name differs from `access_token` in case only.
    /// ``token(authorization:cookie:query:)`` ignores such a parameter, but its value may be a token too.
    public static func redactingQueryToken(_ uri: String) -> String {
        guard let questionMark = uri.utf8.firstIndex(of: UInt8(ascii: "?")) else { return uri }
        let query = uri.utf8[uri.utf8.index(after: questionMark)...]
        var result = String(decoding: uri.utf8[...questionMark], as: UTF8.self)
        var rest = query
        while true {
            let pair = rest.prefix { $0 != UInt8(ascii: "&") && $0 != UInt8(ascii: "#") }
            let name = pair.prefix { $0 != UInt8(ascii: "=") }
            if name.endIndex < pair.endIndex, Self.decoded(name).lowercased() == Self.queryName {
                result += String(decoding: name, as: UTF8.self) + "=***"
            } else {
                result += String(decoding: pair, as: UTF8.self)
            }
            guard pair.endIndex < rest.endIndex else { return result }
            let separator = pair.endIndex
            let next = rest.index(after: separator)
            result += String(decoding: rest[separator..<next], as: UTF8.self)
            rest = rest[next...]
        }
    }
}
