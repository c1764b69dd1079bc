import FlowCore

/// Address and credentials of Redis, with timeouts and limits.
public struct RedisSettings: Hashable, Sendable {
    public var host = "127.0.0.1"
    public var port = 6379
    public var usesTLS = false
    public var user: String?
    public var password: String?
    public var database = 0
    /// File of certificates (PEM) to trust instead of the system's.
    public var authorities: String?
    /// Timeout in milliseconds for connecting, and again for the handshake.
    public var connectMilliseconds = 2_000
    /// Timeout in milliseconds for a reply. Then the connection is closed.
    public var commandMilliseconds = 2_000
    /// Maximum number of commands without a reply. More are rejected.
    public var maximumPending = 100_000
    /// Total bytes of commands without a reply, above which more are rejected.
    public var maximumPendingBytes = 67_108_864
    /// Maximum bytes of one reply or message. Over it the connection is closed.
    public var maximumReplyBytes = 16_777_216

    public init() {}

    /// - Parameter url: `redis[s]://[[user]:password@]host[:port][/database]`; user and password percent-encoded.
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
    ///   - url: the address of the database's REST service, whose host also serves Redis over TLS.
    ///   - token: the password.
    public init(upstash url: String, token: String) throws(RedisError) {
        guard let scheme = url.firstRange(of: "://"), ["https", "rediss"].contains(url[..<scheme.lowerBound].lowercased()) else {
            throw RedisError(.url, "UPSTASH_REDIS_URL must be the URL of the database, https://host.")
        }
        guard !token.isEmpty else { throw RedisError(.url, "UPSTASH_REDIS_TOKEN must be the token of the database.") }
        self.usesTLS = true
        self.user = "default"
        self.password = token
        try self.readAddress(url[scheme.upperBound...].prefix { $0 != "/" })
    }

    private mutating func readCredentials(_ text: Substring) throws(RedisError) {
        let colon = text.firstIndex(of: ":")
        let user = text[..<(colon ?? text.startIndex)]
        let password = colon.map { text[text.index(after: $0)...] } ?? text
        guard let user = PercentEncoding.decode(user), let password = PercentEncoding.decode(password) else {
            throw Self.badURL("invalid percent-encoding in the user or password")
        }
        self.user = user.isEmpty ? nil : user
        self.password = password.isEmpty ? nil : password
    }

    private mutating func readAddress(_ text: Substring) throws(RedisError) {
        var host = text
        var port: Substring?
        if text.hasPrefix("["), let end = text.firstIndex(of: "]") {
            host = text[text.index(after: text.startIndex)..<end]
            let rest = text[text.index(after: end)...]
            if rest.hasPrefix(":") { port = rest.dropFirst() } else if !rest.isEmpty { throw Self.badURL("invalid address") }
        } else if let colon = text.lastIndex(of: ":") {
            host = text[..<colon]
            port = text[text.index(after: colon)...]
        }
        guard !host.contains(where: { "[]".contains($0) }) else { throw Self.badURL("invalid address") }
        if !host.isEmpty { self.host = String(host) }
        if let port {
            guard let number = Int(port), (1...65_535).contains(number) else {
                throw Self.badURL("the port must be from 1 to 65535")
            }
            self.port = number
        }
    }

    private static func badURL(_ reason: String) -> RedisError {
        RedisError(.url, "REDIS_URL must be redis[s]://[user:password@]host[:port][/database]: \(reason).")
    }
}

private enum PercentEncoding {
    static func decode(_ text: Substring) -> String? {
        var bytes: [UInt8] = []
        var rest = text.utf8[...]
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "%") else {
                bytes.append(byte)
                continue
            }
            guard rest.count >= 2, let value = UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16) else {
                return nil
            }
            bytes.append(value)
            rest = rest.dropFirst(2)
        }
        return String(validating: bytes, as: UTF8.self)
    }
}
