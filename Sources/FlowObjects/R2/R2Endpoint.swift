/// Address of R2's S3 interface: scheme, host and port.
struct R2Endpoint: Hashable, Sendable {
    let scheme: String
    /// Host as in the `Host` field: with the port, unless it is the scheme's default.
    let host: String

    /// Cloudflare's endpoint of an account. A bucket in a jurisdiction is reachable only through the endpoint of that
    /// jurisdiction.
    /// - Parameter jurisdiction: `eu`, `fedramp`, or empty for none.
    init(account: String, jurisdiction: String) throws(R2SettingsError) {
        guard (1...63).contains(account.utf8.count), account.utf8.allSatisfy(Self.isAlphanumeric) else {
            throw R2SettingsError("R2_ACCOUNT_ID", "must be the Cloudflare account id: 32 hexadecimal digits.")
        }
        switch jurisdiction {
        case "": self.host = "\(account).r2.cloudflarestorage.com"
        case "eu", "fedramp": self.host = "\(account).\(jurisdiction).r2.cloudflarestorage.com"
        default: throw R2SettingsError("FLOWHUB_R2_JURISDICTION", "must be eu, fedramp or empty.")
        }
        self.scheme = "https"
    }

    /// - Parameter url: `https://host[:port]`; `http://` only on the loopback interface.
    init(url: String) throws(R2SettingsError) {
        var rest = url[...]
        let scheme: String
        if let plain = rest.dropping("http://") {
            (scheme, rest) = ("http", plain)
        } else if let secure = rest.dropping("https://") {
            (scheme, rest) = ("https", secure)
        } else {
            throw Self.invalid("it must begin with https://")
        }
        if rest.hasSuffix("/") { rest = rest.dropLast() }
        guard !rest.contains("@") else {
            throw Self.invalid(
                "it must not contain a user or a password; set the keys in R2_ACCESS_KEY_ID and R2_SECRET_ACCESS_KEY")
        }
        guard !rest.contains("?"), !rest.contains("#") else {
            throw Self.invalid("it must not contain a query or a fragment")
        }
        guard !rest.contains("/") else { throw Self.invalid("it must not contain a path; set the bucket in R2_BUCKET_NAME") }
        var name = rest
        var port: Int?
        if let colon = rest.lastIndex(of: ":"), !rest.hasSuffix("]") {
            guard let number = Int(rest[rest.index(after: colon)...]), (1...65_535).contains(number) else {
                throw Self.invalid("the port must be from 1 to 65535")
            }
            (name, port) = (rest[..<colon], number)
        }
        guard Self.isHost(name) else {
            throw Self.invalid("the host must be a name, an IPv4 address, or an IPv6 address in brackets")
        }
        guard scheme == "https" || Self.isLoopback(name) else {
            throw Self.invalid("http:// is allowed for loopback hosts only; use https://")
        }
        self.scheme = scheme
        self.host =
            port == nil || port == (scheme == "https" ? 443 : 80) ? name.lowercased() : "\(name.lowercased()):\(port ?? 0)"
    }

    /// The error for an invalid `R2_ENDPOINT`.
    private static func invalid(_ why: String) -> R2SettingsError {
        R2SettingsError("R2_ENDPOINT", "must be of the form https://host[:port]: \(why).")
    }

    /// Whether a text has only characters of a host name, an IPv4 address, or an IPv6 address in brackets.
    private static func isHost(_ name: Substring) -> Bool {
        if name.hasPrefix("["), name.hasSuffix("]") {
            return name.dropFirst().dropLast().utf8.allSatisfy { Self.isAlphanumeric($0) || ":.".utf8.contains($0) }
        }
        return (1...253).contains(name.utf8.count) && name.utf8.allSatisfy { Self.isAlphanumeric($0) || "-.".utf8.contains($0) }
    }

    /// Whether a host is `localhost`, `[::1]` or an address 127.x.x.x.
    private static func isLoopback(_ name: Substring) -> Bool {
        if name == "[::1]" || name.lowercased() == "localhost" { return true }
        let parts = name.split(separator: ".", omittingEmptySubsequences: false)
        return parts.count == 4 && parts.first == "127" && parts.allSatisfy { UInt8($0) != nil }
    }

    /// Whether a byte is an ASCII letter or digit.
    private static func isAlphanumeric(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x30...0x39, 0x41...0x5a, 0x61...0x7a: true
        default: false
        }
    }
}

extension Substring {
    /// The text after a prefix, which must be in lower case; `nil` if the text, in any case, does not start with the prefix.
    fileprivate func dropping(_ prefix: String) -> Substring? {
        self.prefix(prefix.count).lowercased() == prefix ? self.dropFirst(prefix.count) : nil
    }
}
