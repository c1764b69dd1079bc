import FlowCore

/// The cookie that carries a token, as `POST /v1/session` sets it.
///
/// - `HttpOnly`: no script of a page can read the token.
/// - `SameSite=Strict`: the browser sends it only with requests of pages of the same site, which are those of the hub's registrable
///   domain. Nothing needs it on a navigation from another site: the web UI is public, and its own requests have the cookie.
/// - `Secure`, except on a loopback address without TLS: Safari does not store such a cookie there.
/// - `Path=/v1`: only the routes that need a token get it.
/// - It ends when the token does, never later.
enum SessionCookie {
    /// Maximum bytes of a cookie's name and value that browsers store (RFC 6265bis, 5.6).
    static let maximumBytes = 4_096
    static let path = "/v1"

    /// Whether browsers store a cookie with this token.
    static func fits(_ token: String) -> Bool { TokenSource.cookieName.utf8.count + token.utf8.count <= Self.maximumBytes }

    /// The value of `Set-Cookie` for a verified token.
    /// - Parameters:
    ///   - expiresAt: the token's end in Unix seconds; `nil`: the token does not expire, and the cookie ends with the browser.
    ///   - now: Unix time in seconds, before `expiresAt`.
    ///   - isSecure: whether the browser may send the cookie over TLS only.
    static func setting(_ token: String, expiresAt: Int64?, now: Int64, isSecure: Bool) -> String {
        var text = "\(TokenSource.cookieName)=\(token)"
        if let expiresAt {
            text += "; Max-Age=\(expiresAt - now); Expires=\(HTTPDate.format(Timestamp(milliseconds: expiresAt * 1_000)))"
        }
        return text + Self.attributes(isSecure: isSecure)
    }

    /// The value of `Set-Cookie` that removes the cookie.
    static func clearing(isSecure: Bool) -> String {
        "\(TokenSource.cookieName)=; Max-Age=0; Expires=\(HTTPDate.format(Timestamp(milliseconds: 0)))"
            + Self.attributes(isSecure: isSecure)
    }

    private static func attributes(isSecure: Bool) -> String {
        "; Path=\(Self.path); HttpOnly; SameSite=Strict" + (isSecure ? "; Secure" : "")
    }
}
