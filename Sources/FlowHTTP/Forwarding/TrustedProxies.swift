import HTTPTypes

/// The proxies whose statement of the client's address is believed (`FLOWHUB_TRUSTED_PROXIES`), and how they make it.
///
/// A proxy hides the client: the hub sees a connection from the proxy. The address that the proxy states appears in the
/// connection registry and in the access log. Clients can send the same header fields, so they count only on connections from a
/// trusted proxy, and only as far back as they were written by trusted proxies.
public struct TrustedProxies: Sendable {
    /// Where a proxy states the client's address (`FLOWHUB_FORWARDED`). Only one of them is read: a proxy that writes one may pass
    /// the others on as the client sent them.
    public enum Statement: String, Sendable, CaseIterable {
        /// The header field `X-Forwarded-For`: addresses, to which each proxy appends that of its client.
        case xForwardedFor = "x-forwarded-for"
        /// The header field `Forwarded` (RFC 7239): its parameter `for`.
        case forwarded
        /// Version 2 of the PROXY protocol: a binary header at the start of the connection.
        case proxyProtocol = "proxy-v2"
    }

    /// Maximum number of addresses that are read of a header field, from the end. There are not more proxies in a row.
    static let maximumHops = 32

    let statement: Statement
    private let networks: [IPNetwork]

    /// Parses the entries of `FLOWHUB_TRUSTED_PROXIES`.
    /// - Throws: ``AccessConfigurationError`` if an entry is neither an IP address nor a network.
    public init(_ entries: [String], statement: Statement) throws(AccessConfigurationError) {
        var networks: [IPNetwork] = []
        for entry in entries {
            guard let network = IPNetwork(entry) else {
                throw AccessConfigurationError(
                    "FLOWHUB_TRUSTED_PROXIES", "\"\(entry)\" is neither an IP address nor a network",
                    remedy: "Use addresses (10.0.0.7, 2001:db8::7) and networks (10.0.0.0/8), separated by commas. The bits of a "
                        + "network's address after the prefix must be 0.")
            }
            networks.append(network)
        }
        self.networks = networks
        self.statement = statement
    }

    /// Whether connections from this address come from a trusted proxy.
    /// - Parameter address: an IP address as text; no other text is trusted.
    func trusts(_ address: String) -> Bool {
        guard !self.networks.isEmpty, let address = IPAddress(address) else { return false }
        return self.trusts(address)
    }

    private func trusts(_ address: IPAddress) -> Bool { self.networks.contains { $0.contains(address) } }

    /// The client's IP address, as stated by header fields.
    ///
    /// Reads the addresses from the end, where the last proxy wrote. The first one that is not a trusted proxy is the client's. An
    /// entry that is no address (`unknown`, RFC 7239, 6.3) ends the search at the proxy that wrote it.
    ///
    /// - Parameter peer: the address of the connection.
    /// - Returns: `peer` if it is not trusted, or if the header field is missing.
    func client(peer: String, fields: HTTPFields) -> String {
        guard !self.networks.isEmpty, self.statement != .proxyProtocol else { return peer }
        guard let name = HTTPField.Name(self.statement.rawValue), self.trusts(peer) else { return peer }
        var client = peer
        for entry in Self.entries(of: fields[values: name]).reversed() {
            let text = self.statement == .forwarded ? Self.parameter("for", of: entry) : entry
            guard let text, let address = Self.address(in: text) else { break }
            client = address.text
            guard self.trusts(address) else { break }
        }
        return client
    }

    /// Whether header fields that a trusted proxy passed on state that the client used https (`X-Forwarded-Proto`, or the parameter
    /// `proto` of `Forwarded`). They count with the PROXY protocol too, although a proxy that uses it may pass a client's fields on:
    /// a client that writes the field itself only makes the hub stricter with its request.
    static func stateHTTPS(_ fields: HTTPFields) -> Bool {
        if let name = HTTPField.Name("x-forwarded-proto"),
            Self.entries(of: fields[values: name]).contains(where: { Self.trimmed($0).lowercased() == "https" })
        {
            return true
        }
        guard let name = HTTPField.Name("forwarded") else { return false }
        return Self.entries(of: fields[values: name]).contains { Self.parameter("proto", of: $0)?.lowercased() == "https" }
    }

    /// The last ``maximumHops`` entries of header fields whose values are lists, in order. A comma in a quoted string separates
    /// nothing.
    private static func entries(of values: [String]) -> [Substring] {
        var entries: [Substring] = []
        for value in values.reversed() {
            var isQuoted = false
            var end = value.endIndex
            var index = value.endIndex
            // From the end, since a client can send any number of entries before the last. A quoted pair ("\"") does not occur
            // in an address, so that an entry with one is no address in either direction.
            while index > value.startIndex {
                let next = value.utf8.index(before: index)
                let byte = value.utf8[next]
                if byte == UInt8(ascii: "\"") { isQuoted.toggle() }
                if byte == UInt8(ascii: ","), !isQuoted {
                    entries.append(value[index..<end])
                    end = next
                }
                index = next
                if entries.count == Self.maximumHops { return entries.reversed() }
            }
            entries.append(value[value.startIndex..<end])
            if entries.count >= Self.maximumHops { break }
        }
        return entries.reversed()
    }

    /// The value of a parameter of an element of `Forwarded` (RFC 7239, 4), without quotes.
    private static func parameter(_ name: String, of element: Substring) -> Substring? {
        for pair in element.split(separator: ";") {
            guard let equals = pair.firstIndex(of: "=") else { continue }
            guard Self.trimmed(pair[..<equals]).lowercased() == name else { continue }
            let value = Self.trimmed(pair[pair.index(after: equals)...])
            guard value.utf8.count >= 2, value.hasPrefix("\""), value.hasSuffix("\"") else { return value }
            return value.dropFirst().dropLast()
        }
        return nil
    }

    /// The address in `192.0.2.1`, `192.0.2.1:4711`, `2001:db8::1`, `[2001:db8::1]` or `[2001:db8::1]:4711`.
    private static func address(in text: Substring) -> IPAddress? {
        let text = Self.trimmed(text)
        if text.hasPrefix("[") {
            guard let end = text.firstIndex(of: "]") else { return nil }
            let rest = text[text.index(after: end)...]
            guard rest.isEmpty || rest.hasPrefix(":") else { return nil }
            return IPAddress(text[text.index(after: text.startIndex)..<end])
        }
        if let colon = text.firstIndex(of: ":"), text[text.index(after: colon)...].firstIndex(of: ":") == nil {
            return IPAddress(text[..<colon])
        }
        return IPAddress(text)
    }

    /// The text without spaces and tabs at both ends.
    private static func trimmed(_ text: Substring) -> Substring {
        var text = text.drop { $0 == " " || $0 == "\t" }
        while text.last == " " || text.last == "\t" { text.removeLast() }
        return text
    }
}
