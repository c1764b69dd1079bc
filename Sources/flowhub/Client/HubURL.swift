import Foundation

/// The base URL of a hub.
struct HubURL: Hashable, Sendable {
    /// Scheme, host, port and path, without a slash at the end.
    let base: String
    let isSecure: Bool
    let host: String
    let port: Int
    /// The path before `/v1`; empty, or starting with a slash.
    let path: String

    /// Parses `http[s]://host[:port][/path]`.
    /// - Throws: ``CommandFailure`` of kind `usage` for any other text.
    init(_ text: String) throws(CommandFailure) {
        guard let parts = URLComponents(string: text), let scheme = parts.scheme?.lowercased(),
            scheme == "http" || scheme == "https", let host = parts.host, !host.isEmpty
        else {
            throw CommandFailure(
                .usage, "Invalid hub URL \"\(Terminal.sanitized(text))\". Use the form http://127.0.0.1:8080.")
        }
        guard parts.user == nil, parts.password == nil, parts.query == nil, parts.fragment == nil else {
            throw CommandFailure(.usage, "The hub's URL must not have a user, query or fragment. Pass a token in FLOWHUB_TOKEN.")
        }
        self.isSecure = scheme == "https"
        self.host = host.hasPrefix("[") && host.hasSuffix("]") ? String(host.dropFirst().dropLast()) : host
        self.port = parts.port ?? (self.isSecure ? 443 : 80)
        guard (1...65_535).contains(self.port) else {
            throw CommandFailure(.usage, "The port in the hub's URL must be from 1 to 65535, not \(self.port).")
        }
        var path = parts.percentEncodedPath
        while path.hasSuffix("/") { path.removeLast() }
        self.path = path
        self.base = "\(scheme)://\(Self.bracketed(self.host))\(parts.port.map { ":\($0)" } ?? "")\(path)"
    }

    /// Whether the host is a loopback address, so that requests stay on this machine.
    var isLoopback: Bool {
        let host = self.host.lowercased()
        // IPv4-mapped addresses (RFC 4291, 2.5.5.2) are IPv4 addresses.
        let octets = (host.hasPrefix("::ffff:") ? host.dropFirst(7) : host[...]).split(
            separator: ".", omittingEmptySubsequences: false)
        let isIPv4 = octets.count == 4 && octets.allSatisfy { UInt8($0) != nil }
        return host == "localhost" || host == "::1" || (isIPv4 && octets[0] == "127")
    }

    /// The value of the `Host` header.
    var authority: String { "\(Self.bracketed(self.host)):\(self.port)" }

    /// The host as it is written in a URL: an IPv6 address in brackets, any other host unchanged.
    private static func bracketed(_ host: String) -> String { host.contains(":") ? "[\(host)]" : host }

    /// Percent-encodes a value for a query or path: all bytes except `:` and the unreserved characters (RFC 3986, 2.3).
    static func encoded(_ value: String) -> String {
        var result = ""
        for byte in value.utf8 {
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"),
                UInt8(ascii: "~"), UInt8(ascii: ":"):
                result.unicodeScalars.append(Unicode.Scalar(byte))
            default:
                result += "%" + (byte < 16 ? "0" : "") + String(byte, radix: 16, uppercase: true)
            }
        }
        return result
    }
}
