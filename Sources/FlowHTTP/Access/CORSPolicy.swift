/// Which pages of other origins may call the hub from a browser, and which may change something by cookie.
///
/// The list holds origins as browsers write them: `https://app.example.com`, `http://localhost:5173`; each is compared whole.
/// `*` lets every origin read **without credentials**: the answer is `Access-Control-Allow-Origin: *` and never allows
/// credentials, so a page needs the token itself (header or query) and a cookie is of no use to it. This is decided by the list
/// alone, not by whether the hub has keys: an open hub that gets keys later does not hand its cookies to every page. An origin
/// that is listed beside `*` keeps its credentials.
public struct CORSPolicy: Sendable, Equatable {
    public static let methods = "GET, POST, PUT, PATCH, DELETE"
    public static let requestHeaders =
        "authorization, content-type, if-match, if-none-match, idempotency-key, fencing-token, last-event-id"
    public static let exposedHeaders = "ETag, Idempotency-Replayed, Retry-After, Location"
    /// Seconds for which a browser may remember a preflight's answer.
    public static let maximumAgeSeconds = 600

    private let origins: Set<String>
    private let allowsAny: Bool

    /// - Throws: ``AccessConfigurationError`` if an entry is no origin. A path or a slash at the end is refused, not dropped:
    ///   who writes one expects it to mean something.
    public init(origins entries: [String]) throws(AccessConfigurationError) {
        var origins: Set<String> = []
        var allowsAny = false
        for entry in entries {
            if entry == "*" {
                allowsAny = true
            } else if let origin = Self.normalized(entry) {
                origins.insert(origin)
            } else {
                throw AccessConfigurationError(
                    "FLOWHUB_CORS_ORIGINS",
                    "\"\(entry)\" is not an origin",
                    remedy: "Write scheme://host[:port] without a path or a slash at the end, separated by commas, or *."
                )
            }
        }
        self.origins = origins
        self.allowsAny = allowsAny
    }

    /// Whether a page of this origin may read the answer. A request without `Origin` is not a browser's cross-origin one: false.
    public func allowed(origin: String?) -> Bool {
        guard let origin else { return false }
        return self.allowsAny || self.origins.contains(origin)
    }

    /// What to add to the answer of an ordinary request.
    public func headers(for origin: String?) -> [(name: String, value: String)] {
        var headers = self.grant(for: origin)
        if self.allowed(origin: origin) {
            headers.append((name: "Access-Control-Expose-Headers", value: Self.exposedHeaders))
        }
        return headers
    }

    /// What to put on the answer to `OPTIONS` (204, allowed or not: without the headers the browser refuses by itself).
    public func preflightHeaders(for origin: String?) -> [(name: String, value: String)] {
        var headers = self.grant(for: origin)
        if self.allowed(origin: origin) {
            headers.append((name: "Access-Control-Allow-Methods", value: Self.methods))
            headers.append((name: "Access-Control-Allow-Headers", value: Self.requestHeaders))
            headers.append((name: "Access-Control-Max-Age", value: "\(Self.maximumAgeSeconds)"))
        }
        return headers
    }

    /// Whether a request that changes something may rest on the cookie alone.
    ///
    /// The cookie comes with requests that any page starts, so the page must be named by `Origin` and be on the list or be the
    /// hub's own (its `Origin` has the authority of `Host`). `*` does not count, nor do a missing `Origin` and `null`.
    public func permitsCookieWrite(origin: String?, host: String?) -> Bool {
        guard let origin else { return false }
        if self.origins.contains(origin) { return true }
        guard let host, let own = Self.parts(of: origin), own.scheme == "https" || own.scheme == "http" else { return false }
        // Behind a proxy that ends TLS the hub cannot know its own scheme, so a default port may be there or not.
        let port = own.scheme == "https" ? ":443" : ":80"
        let wanted = host.lowercased()
        return wanted == own.authority || wanted == own.authority + port
    }

    private func grant(for origin: String?) -> [(name: String, value: String)] {
        if let origin, self.origins.contains(origin) {
            return [
                (name: "Access-Control-Allow-Origin", value: origin),
                (name: "Access-Control-Allow-Credentials", value: "true"),
                (name: "Vary", value: "Origin"),
            ]
        }
        // With a list the answer depends on the origin even for those not on it; a cache must know.
        let vary = self.origins.isEmpty ? [] : [(name: "Vary", value: "Origin")]
        guard self.allowsAny, origin != nil else { return vary }
        return [(name: "Access-Control-Allow-Origin", value: "*")] + vary
    }
}

extension CORSPolicy {
    /// The origin as browsers write it (lower case, no default port), or `nil` if the text is none.
    private static func normalized(_ entry: String) -> String? {
        guard let parts = Self.parts(of: entry.lowercased()) else { return nil }
        var authority = parts.authority
        if parts.scheme == "https", authority.hasSuffix(":443") { authority.removeLast(4) }
        if parts.scheme == "http", authority.hasSuffix(":80") { authority.removeLast(3) }
        return parts.scheme + "://" + authority
    }

    /// `scheme://authority`, in lower case, and nothing behind it (RFC 6454, 6.2).
    private static func parts(of origin: String) -> (scheme: String, authority: String)? {
        let bytes = Array(origin.utf8)
        guard let colon = bytes.firstIndex(of: UInt8(ascii: ":")), bytes[colon...].starts(with: "://".utf8) else { return nil }
        let scheme = bytes[..<colon]
        let authority = bytes[(colon + 3)...]
        guard let first = scheme.first, Self.isLowerLetter(first), scheme.allSatisfy({ Self.isSchemeByte($0) }) else {
            return nil
        }
        let host: ArraySlice<UInt8>
        let tail: ArraySlice<UInt8>
        if authority.first == UInt8(ascii: "[") {
            guard let end = authority.firstIndex(of: UInt8(ascii: "]")) else { return nil }
            host = authority[(authority.startIndex + 1)..<end]
            tail = authority[(end + 1)...]
            guard host.allSatisfy({ Self.isHexDigit($0) || ":.".utf8.contains($0) }) else { return nil }
        } else {
            host = authority.prefix { $0 != UInt8(ascii: ":") }
            tail = authority[host.endIndex...]
            guard host.allSatisfy({ Self.isHostByte($0) }) else { return nil }
        }
        guard !host.isEmpty, tail.isEmpty || Self.isPort(tail) else { return nil }
        return (String(decoding: scheme, as: UTF8.self), String(decoding: authority, as: UTF8.self))
    }

    private static func isPort(_ tail: ArraySlice<UInt8>) -> Bool {
        let digits = tail.dropFirst()
        guard tail.first == UInt8(ascii: ":"), digits.allSatisfy({ Self.isDigit($0) }),
            let port = UInt16(String(decoding: digits, as: UTF8.self))
        else { return false }
        return port > 0
    }

    private static func isLowerLetter(_ byte: UInt8) -> Bool { (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte) }
    private static func isDigit(_ byte: UInt8) -> Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) }
    private static func isHexDigit(_ byte: UInt8) -> Bool {
        Self.isDigit(byte) || (UInt8(ascii: "a")...UInt8(ascii: "f")).contains(byte)
    }
    private static func isSchemeByte(_ byte: UInt8) -> Bool {
        Self.isLowerLetter(byte) || Self.isDigit(byte) || "+-.".utf8.contains(byte)
    }
    private static func isHostByte(_ byte: UInt8) -> Bool {
        Self.isLowerLetter(byte) || Self.isDigit(byte) || ".-_".utf8.contains(byte)
    }
}
