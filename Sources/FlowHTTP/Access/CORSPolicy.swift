public import HTTPTypes

/// The origins whose pages may call the hub from a browser, and may modify data with the cookie `flowhub_token`.
///
/// The list holds origins as browsers write them: `https://app.example.com`, `http://localhost:5173`. An origin matches only
/// if the whole text is equal.
///
/// An entry may have `*` as the first label of its host: `https://*.example.app` matches `https://a.example.app`, with exactly one
/// label in its place, and neither `https://example.app` nor `https://a.b.example.app`. What matches is listed: the owner of the
/// domain must not give its names to strangers.
///
/// `*` allows every origin **without credentials**: the response has `Access-Control-Allow-Origin: *` and never allows
/// credentials. A page then must send the token itself (header or query), because the browser does not send the cookie. On a
/// hub without keys `*` has no effect, since every page could then change every flow: see ``KeylessAccess``. An origin that is
/// listed in addition to `*` is still allowed credentials.
public struct CORSPolicy: Sendable, Equatable {
    /// Value of `Access-Control-Allow-Methods`.
    public static let methods = "GET, HEAD, POST, PUT, PATCH, DELETE, QUERY"
    /// Value of `Access-Control-Allow-Headers`: the fields that the hub reads, and those that polyfills of `EventSource`, `fetch`
    /// wrappers and tracing libraries add to every request. The hub ignores the latter; a browser would not send the request.
    public static let requestHeaders =
        "authorization, content-type, content-encoding, if-match, if-none-match, idempotency-key, fencing-token, last-event-id, "
        + "cache-control, pragma, x-requested-with, x-request-id, traceparent, tracestate, baggage, sentry-trace"
    /// Value of `Access-Control-Expose-Headers`.
    public static let exposedHeaders =
        "ETag, Location, Retry-After, X-Request-ID, Idempotency-Replayed, Allow, WWW-Authenticate"
    /// Time for which a browser may cache the response to a preflight, in seconds: the longest that Chromium accepts. The list of
    /// origins may change meanwhile, since every response has the fields of its own.
    public static let maximumAgeSeconds = 7_200

    private let origins: Set<String>
    private let wildcards: [WildcardOrigin]
    private let allowsAny: Bool

    /// Allows no origin.
    static let none = CORSPolicy()

    private init() { (self.origins, self.wildcards, self.allowsAny) = ([], [], false) }

    /// Parses the entries of `FLOWHUB_CORS_ORIGINS`.
    /// - Throws: ``AccessConfigurationError`` if an entry is not an origin. A path or a trailing slash is an error and not
    ///   ignored, because an operator who writes one expects an effect.
    public init(origins entries: [String]) throws(AccessConfigurationError) {
        var origins: Set<String> = []
        var wildcards: [WildcardOrigin] = []
        var allowsAny = false
        for entry in entries {
            if entry == "*" {
                allowsAny = true
            } else if let origin = Self.normalized(entry) {
                origins.insert(origin)
            } else if let wildcard = WildcardOrigin(entry, normalize: Self.normalized) {
                wildcards.append(wildcard)
            } else {
                throw AccessConfigurationError(
                    "FLOWHUB_CORS_ORIGINS",
                    "\"\(entry)\" is not an origin",
                    remedy:
                        "Use scheme://host[:port] without a path or a trailing slash, separated by commas, or *. The first label "
                        + "of a host may be *, if at least two follow: https://*.example.app."
                )
            }
        }
        self.origins = origins
        self.wildcards = wildcards
        self.allowsAny = allowsAny
    }

    /// Whether an entry other than `*` matches the origin.
    private func lists(_ origin: String) -> Bool {
        self.origins.contains(origin) || self.wildcards.contains { $0.matches(origin) }
    }

    /// Whether a page of this origin may read the response. `false` without `Origin`: the request is not a cross-origin one.
    public func allowed(origin: String?) -> Bool {
        guard let origin else { return false }
        return self.allowsAny || self.lists(origin)
    }

    /// The CORS header fields of the response to an ordinary request.
    public func headers(for origin: String?) -> HTTPFields {
        var headers = self.grant(for: origin)
        if self.allowed(origin: origin) { headers[.accessControlExposeHeaders] = Self.exposedHeaders }
        return headers
    }

    /// The header fields of the response to a preflight. Its status is 204 for every origin: a browser that does not find these
    /// fields blocks the request itself.
    public func preflightHeaders(for origin: String?) -> HTTPFields {
        var headers = self.grant(for: origin)
        if self.allowed(origin: origin) {
            headers[.accessControlAllowMethods] = Self.methods
            headers[.accessControlAllowHeaders] = Self.requestHeaders
            headers[.accessControlMaxAge] = "\(Self.maximumAgeSeconds)"
        }
        return headers
    }

    /// Whether a request was sent by a page that is listed or is the hub's own (its `Origin` has the authority of `Host`, and the
    /// scheme `https` if the request is known to have it). `*`, a missing `Origin` and `null` do not suffice.
    ///
    /// Browsers send the cookie with requests that any page starts, and a hub without keys requires no token at all. So a
    /// request that modifies data with the cookie, and every request of a page to a hub without keys, needs such an `Origin`.
    ///
    /// - Parameter isSecure: whether the client is known to use https. Otherwise a page of `http` counts as the hub's own too.
    public func isListedOrOwn(origin: String?, host: String?, isSecure: Bool) -> Bool {
        guard let origin else { return false }
        if self.lists(origin) { return true }
        guard let host, let own = Self.parts(of: origin), own.scheme == "https" || (own.scheme == "http" && !isSecure)
        else { return false }
        // Behind a proxy that terminates TLS the hub does not know its own scheme. So the port in `Host` may be missing, or
        // be the default port of the scheme in `Origin`.
        let port = own.scheme == "https" ? ":443" : ":80"
        let wanted = host.lowercased()
        return wanted == own.authority || wanted == own.authority + port
    }

    /// `Access-Control-Allow-Origin` and `-Credentials` for an allowed origin, and `Vary` if the response depends on
    /// `Origin`.
    private func grant(for origin: String?) -> HTTPFields {
        if let origin, self.lists(origin) {
            return [.accessControlAllowOrigin: origin, .accessControlAllowCredentials: "true", .vary: "Origin"]
        }
        var headers: HTTPFields = [:]
        if self.allowsAny, origin != nil { headers[.accessControlAllowOrigin] = "*" }
        // With a list the response depends on `Origin`, also for origins that are not listed. Without `Vary` a cache could send
        // the response for one origin to a page of another.
        if !self.origins.isEmpty || !self.wildcards.isEmpty { headers[.vary] = "Origin" }
        return headers
    }
}

extension CORSPolicy {
    /// The origin as browsers write it (lower case, no default port); `nil` if the text is not an origin.
    private static func normalized(_ entry: String) -> String? {
        guard let parts = Self.parts(of: entry.lowercased()) else { return nil }
        var authority = parts.authority
        if parts.scheme == "https", authority.hasSuffix(":443") { authority.removeLast(4) }
        if parts.scheme == "http", authority.hasSuffix(":80") { authority.removeLast(3) }
        return parts.scheme + "://" + authority
    }

    /// Splits `scheme://authority`, in lower case (RFC 6454, 6.2).
    /// - Returns: `nil` if the text is anything else, or something follows the authority.
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

    /// Whether the text after the host is `:` and a port from 1 to 65535.
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
    /// Whether a byte may occur in a scheme (RFC 3986, 3.1), in lower case.
    private static func isSchemeByte(_ byte: UInt8) -> Bool {
        Self.isLowerLetter(byte) || Self.isDigit(byte) || "+-.".utf8.contains(byte)
    }
    /// Whether a byte may occur in a host name, in lower case.
    private static func isHostByte(_ byte: UInt8) -> Bool {
        Self.isLowerLetter(byte) || Self.isDigit(byte) || ".-_".utf8.contains(byte)
    }
}
