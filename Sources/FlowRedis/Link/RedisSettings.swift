import FlowCore

/// Address and credentials of Redis, with timeouts and limits.
public struct RedisSettings: Hashable, Sendable {
    public var host = "127.0.0.1"
    public var port = 6379
    public var usesTLS = false
    public var user: String?
    public var password: String?
    /// Number of the database on the server (`SELECT`), 0 to 16,383.
    public var database = 0
    /// Path of a file with the certificates (PEM) to trust instead of the system's (`FLOWHUB_REDIS_CA`).
    public var authorities: String?
    /// Timeout in milliseconds for connecting, and again for the handshake.
    public var connectMilliseconds = 2_000
    /// Timeout in milliseconds for a reply. When it elapses, the connection is closed.
    public var commandMilliseconds = 2_000
    /// Maximum number of commands that wait for a reply. Further commands fail.
    public var maximumPending = 100_000
    /// Total bytes of the commands that wait for a reply, above which further commands fail.
    public var maximumPendingBytes = 67_108_864
    /// Maximum bytes of one reply or message. If one is larger, the connection is closed.
    public var maximumReplyBytes = 16_777_216

    public init() {}

    /// Reads the settings from a `REDIS_URL`.
    /// - Parameter url: `redis[s]://[[user]:password@]host[:port][/database]`; user and password percent-encoded.
    /// - Throws: ``RedisError`` with the code `url` if the URL is invalid.
    public init(url: String) throws(RedisError) {
        guard let scheme = url.firstRange(of: "://") else { throw Self.badURL("it must begin with redis:// or rediss://") }
        switch url[..<scheme.lowerBound].lowercased() {
        case "redis": break
        case "rediss": self.usesTLS = true
        default: throw Self.badURL("it must begin with redis:// or rediss://")
        }
        var rest = url[scheme.upperBound...]
        if let query = rest.firstIndex(of: "?") { rest = rest[..<query] }
        // The password may contain an @, the host may not.
        if let at = rest.lastIndex(of: "@") {
            try self.readCredentials(rest[..<at])
            rest = rest[rest.index(after: at)...]
        }
        if let slash = rest.firstIndex(of: "/") {
            let number = rest[rest.index(after: slash)...]
            if !number.isEmpty {
                guard let database = Int(number), (0...16_383).contains(database) else {
                    throw Self.badURL("the database must be a number from 0 to 16383")
                }
                self.database = database
            }
            rest = rest[..<slash]
        }
        try self.readAddress(rest)
    }

    /// Settings for Upstash.
    /// - Parameters:
    ///   - url: the address of the database's REST service, `https://host`, whose host also serves Redis over TLS; or Upstash's
    ///     `rediss://default:password@host:port`.
    ///   - token: the password; `nil`: that of the URL.
    ///   - urlKey: name of the setting with the URL, for the error.
    ///   - tokenKey: name of the setting with the token, for the error.
    /// - Throws: ``RedisError`` with the code `url` if the URL is invalid or there is no token.
    public init(
        upstash url: String, token: String?, urlKey: String = "UPSTASH_REDIS_URL", tokenKey: String = "UPSTASH_REDIS_TOKEN"
    ) throws(RedisError) {
        guard let scheme = url.firstRange(of: "://"), ["https", "rediss"].contains(url[..<scheme.lowerBound].lowercased()) else {
            throw RedisError(.url, "\(urlKey) must be the URL of the Upstash database, of the form https://host.")
        }
        if url.contains("@") {
            self = try RedisSettings(url: "rediss" + url[scheme.lowerBound...])
        } else {
            self.usesTLS = true
            try self.readAddress(url[scheme.upperBound...].prefix { $0 != "/" && $0 != "?" })
        }
        if self.user == nil { self.user = "default" }
        if let token { self.password = token }
        guard self.password?.isEmpty == false else {
            throw RedisError(.url, "\(tokenKey) is not set: set it to the token of the Upstash database in \(urlKey).")
        }
    }

    /// Host, port and database, for people. Without user and password.
    public var summary: String {
        let host = self.host.contains(":") ? "[\(self.host)]" : self.host
        return "\(host):\(self.port)/\(self.database)" + (self.usesTLS ? " over TLS" : "")
    }

    /// Reads `user:password`, or a password alone, both percent-encoded.
    private mutating func readCredentials(_ text: Substring) throws(RedisError) {
        let colon = text.firstIndex(of: ":")
        let user = text[..<(colon ?? text.startIndex)]
        let password = colon.map { text[text.index(after: $0)...] } ?? text
        guard let user = PercentDecoding.decode(user), let password = PercentDecoding.decode(password) else {
            throw Self.badURL("the user or the password is not valid percent-encoded UTF-8")
        }
        self.user = user.isEmpty ? nil : user
        self.password = password.isEmpty ? nil : password
    }

    /// Reads `host[:port]`, with an IPv6 address in brackets. An empty host or a missing port leaves the default.
    private mutating func readAddress(_ text: Substring) throws(RedisError) {
        var host = text
        var port: Substring?
        if text.hasPrefix("["), let end = text.firstIndex(of: "]") {
            host = text[text.index(after: text.startIndex)..<end]
            let rest = text[text.index(after: end)...]
            if rest.hasPrefix(":") { port = rest.dropFirst() } else if !rest.isEmpty { throw Self.badURL(Self.badHost) }
        } else if let colon = text.lastIndex(of: ":") {
            host = text[..<colon]
            port = text[text.index(after: colon)...]
        }
        guard !host.contains(where: { "[]".contains($0) }) else { throw Self.badURL(Self.badHost) }
        if !host.isEmpty { self.host = String(host) }
        if let port {
            guard let number = Int(port), (1...65_535).contains(number) else {
                throw Self.badURL("the port must be from 1 to 65535")
            }
            self.port = number
        }
    }

    private static let badHost = "the host must be a name, an IPv4 address, or an IPv6 address in brackets"

    /// The error for an invalid `REDIS_URL`. `reason` must not quote the URL, which may contain a password.
    private static func badURL(_ reason: String) -> RedisError {
        RedisError(.url, "REDIS_URL must be redis[s]://[user:password@]host[:port][/database]: \(reason).")
    }
}
