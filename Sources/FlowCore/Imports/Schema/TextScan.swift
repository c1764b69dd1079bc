/// Recognizes the patterns that a text may match.
struct TextScan {
    /// The decoded text, in UTF-8.
    let text: ArraySlice<UInt8>

    init(_ text: ArraySlice<UInt8>) { self.text = text }

    /// Whether the text matches ``TextPattern/boolean``.
    var isBoolean: Bool {
        guard self.text.count <= 5 else { return false }
        return ["true", "false", "yes", "no"].contains { self.text.elementsEqual($0.utf8, by: { $0 | 0x20 == $1 }) }
    }

    /// Whether the text matches ``TextPattern/number``.
    var isNumber: Bool {
        var rest = self.text
        if rest.first == UInt8(ascii: "-") || rest.first == UInt8(ascii: "+") { rest = rest.dropFirst() }
        let integer = Self.consumeDigits(&rest)
        guard integer.count == 1 || integer.count > 1 && integer.first != UInt8(ascii: "0") else { return false }
        if rest.first == UInt8(ascii: ".") {
            rest = rest.dropFirst()
            guard !Self.consumeDigits(&rest).isEmpty else { return false }
        }
        if let byte = rest.first, byte | 0x20 == UInt8(ascii: "e") {
            rest = rest.dropFirst()
            if rest.first == UInt8(ascii: "-") || rest.first == UInt8(ascii: "+") { rest = rest.dropFirst() }
            guard !Self.consumeDigits(&rest).isEmpty else { return false }
        }
        return rest.isEmpty
    }

    /// Removes all digits from the start of the text and returns them; empty if there are none.
    private static func consumeDigits(_ rest: inout ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        let digits = rest.prefix(while: JSONByte.isDigit)
        rest = rest[digits.endIndex...]
        return digits
    }

    /// Whether the text is a UUID with its hyphens, in upper or lower case.
    var isUUID: Bool {
        self.text.count == 36
            && zip(0..., self.text).allSatisfy { index, byte in
                [8, 13, 18, 23].contains(index) ? byte == UInt8(ascii: "-") : JSONByte.hexadecimal(byte) != nil
            }
    }

    // MARK: Addresses

    /// Whether the text is an IPv4 or IPv6 address, without a port, prefix length or zone.
    var isIPAddress: Bool { self.text.count <= 45 && (Self.isVersion4(self.text) || self.isVersion6) }

    /// Whether the text is an IPv4 address: four numbers up to 255 without leading zeros.
    private static func isVersion4(_ text: ArraySlice<UInt8>) -> Bool {
        let parts = text.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        return parts.count == 4
            && parts.allSatisfy { part in
                guard (1...3).contains(part.count), part.allSatisfy(JSONByte.isDigit) else { return false }
                guard part.count == 1 || part.first != UInt8(ascii: "0") else { return false }
                return part.reduce(0) { 10 * $0 + Int($1 - UInt8(ascii: "0")) } <= 255
            }
    }

    /// Whether the text is an IPv6 address by RFC 4291, section 2.2.
    private var isVersion6: Bool {
        let colon = UInt8(ascii: ":")
        guard self.text.contains(colon) else { return false }
        var groups = self.text.split(separator: colon, omittingEmptySubsequences: false)
        var count = 8
        if let last = groups.last, last.contains(UInt8(ascii: ".")) {
            guard Self.isVersion4(last) else { return false }
            // The IPv4 address stands for two groups.
            groups.removeLast()
            count = 6
            if groups == [[], []] { return true }
        }
        // Two colons stand for one or more groups of zeros and may occur once.
        let isShort = zip(self.text, self.text.dropFirst()).filter { $0 == colon && $1 == colon }.count == 1
        if isShort {
            if groups.first?.isEmpty == true { groups.removeFirst() }
            if groups.last?.isEmpty == true { groups.removeLast() }
            guard let gap = groups.firstIndex(of: []) else { return groups.count < count && groups.allSatisfy(Self.isGroup) }
            groups.remove(at: gap)
        }
        return (isShort ? groups.count < count : groups.count == count) && groups.allSatisfy(Self.isGroup)
    }

    /// Whether the text is one to four hexadecimal digits, a group of an IPv6 address.
    private static func isGroup(_ group: ArraySlice<UInt8>) -> Bool {
        (1...4).contains(group.count) && group.allSatisfy { JSONByte.hexadecimal($0) != nil }
    }

    // MARK: Mail and web

    /// Whether the text is a mail address by RFC 5321, without quoted local parts and address literals.
    var isEmail: Bool {
        guard self.text.count <= 254, let at = self.text.firstIndex(of: UInt8(ascii: "@")) else { return false }
        let name = self.text[..<at]
        guard (1...64).contains(name.count), Self.isHost(self.text[(at + 1)...], labels: 2) else { return false }
        return name.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false).allSatisfy { part in
            !part.isEmpty && part.allSatisfy { Self.isAlphanumeric($0) || "!#$%&'*+-/=?^_`{|}~".utf8.contains($0) }
        }
    }

    /// Whether the text is a URL with the scheme `http`, `https` or `ftp` and a host.
    var isURL: Bool {
        guard let colon = self.text.prefix(6).firstIndex(of: UInt8(ascii: ":")) else { return false }
        let scheme = self.text[..<colon]
        let isKnown = ["http", "https", "ftp"].contains { scheme.elementsEqual($0.utf8, by: { $0 | 0x20 == $1 }) }
        let rest = self.text[(colon + 1)...]
        guard isKnown, rest.starts(with: "//".utf8) else { return false }
        let isHostEnd = { (byte: UInt8) in "/?#".utf8.contains(byte) }
        let host = rest.dropFirst(2).prefix { !isHostEnd($0) }
        return !host.isEmpty && rest.allSatisfy { $0 > 0x20 && $0 != 0x7F && !"\"<>\\^`{|}".utf8.contains($0) }
    }

    /// Whether the text is a host name of at least this number of labels.
    private static func isHost(_ host: ArraySlice<UInt8>, labels: Int) -> Bool {
        let parts = host.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        let hyphen = UInt8(ascii: "-")
        return parts.count >= labels
            && parts.allSatisfy { part in
                (1...63).contains(part.count) && part.first != hyphen && part.last != hyphen
                    && part.allSatisfy { Self.isAlphanumeric($0) || $0 == hyphen }
            }
    }

    /// Whether the byte is an ASCII letter or digit.
    private static func isAlphanumeric(_ byte: UInt8) -> Bool {
        JSONByte.isDigit(byte) || (byte | 0x20) &- UInt8(ascii: "a") < 26
    }
}
