import FlowCore

/// Where Redis is, and how long what may take.
public struct RedisSettings: Hashable, Sendable {
    public var host = "127.0.0.1"
    public var port = 6379
    public var usesTLS = false
    public var user: String?
    public var password: String?
    public var database = 0
    /// A file of certificates (PEM) to trust instead of the system's.
    public var authorities: String?
    /// Milliseconds to reach the server and be let in.
    public var connectMilliseconds = 2_000
    /// Milliseconds that a command may take; then the connection is given up.
    public var commandMilliseconds = 2_000
    /// Commands that may wait for an answer.
    public var maximumPending = 100_000
    /// Bytes of the commands that wait for an answer.
    public var maximumPendingBytes = 67_108_864
    /// Bytes of one reply or message.
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
        // A password may hold an @; a host may not.
        if let at = rest.lastIndex(of: "@") {
            try self.readCredentials(rest[..<at])
            rest = rest[rest.index(after: at)...]
        }
        if let slash = rest.firstIndex(of: "/") {
            let number = rest[rest.index(after: slash)...]
            if !number.isEmpty {
                guard let database = Int(number), (0...16_383).contains(database) else {
                    throw Self.badURL("the database after the last / must be a number")
                }
                self.database = database
            }
            rest = rest[..<slash]
        }
        try self.readAddress(rest)
    }

    /// Upstash's own pair: the address is that of its REST service, the same host serves Redis by TLS.
    public init(upstash url: String, token: String) throws(RedisError) {
        guard let scheme = url.firstRange(of: "://"), ["https", "rediss"].contains(url[..<scheme.lowerBound].lowercased()) else {
            throw RedisError(.url, "UPSTASH_REDIS_URL must be the database's address, https://….")
        }
        guard !token.isEmpty else { throw RedisError(.url, "UPSTASH_REDIS_TOKEN must hold the database's token.") }
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
            throw Self.badURL("the user or the password is not percent-encoded as it should be")
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
            if rest.hasPrefix(":") { port = rest.dropFirst() } else if !rest.isEmpty { throw Self.badURL("the address is odd") }
        } else if let colon = text.lastIndex(of: ":") {
            host = text[..<colon]
            port = text[text.index(after: colon)...]
        }
        guard !host.contains(where: { "[]".contains($0) }) else { throw Self.badURL("the address is odd") }
        if !host.isEmpty { self.host = String(host) }
        if let port {
            guard let number = Int(port), (1...65_535).contains(number) else { throw Self.badURL("the port must be a number") }
            self.port = number
        }
    }

    private static func badURL(_ reason: String) -> RedisError {
        RedisError(.url, "REDIS_URL is not redis[s]://[user:password@]host[:port][/database]: \(reason).")
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
