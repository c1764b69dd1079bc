/// A position as a client sends it: the parsed text of `Last-Event-ID`, of `?last_event_id=`, or of `after` in the body of a
/// request for many flows.
public enum Cursor: Hashable, Sendable {
    /// No cursor: a new subscriber.
    case none
    /// `0`: from the start of history.
    case start
    /// `<epoch>-<version>`: the position in one flow.
    case flow(Epoch, Version)
    /// `<epoch>-<hash of the sorted ids>-<versions in base 36>`: the positions in several flows. A version is `nil` for a
    /// flow without a position yet.
    case flows(Epoch, FlowSetHash, [Version?])
    /// A text that no hub sends. It is answered with a `resync` and not with an error, because an `EventSource` does not
    /// reconnect after an error response.
    case unreadable

    /// Maximum length in bytes of the cursor of a stream with up to 12 flows. With a longer one or other characters, a browser
    /// sends a CORS preflight for each reconnect.
    public static let maximumPlainLength = 128
    /// Maximum length of a cursor in bytes: that of 100 flows with the longest epoch and the highest versions is 1,429.
    public static let maximumLength = 2_048

    /// Parses a cursor as clients send it: in quotes or with the prefix `W/` too, as it is in an `ETag`, and with blanks around
    /// it. Never fails: an invalid text is ``unreadable``.
    public init(sent text: some StringProtocol) {
        func isBlank(_ byte: UInt8) -> Bool { byte == UInt8(ascii: " ") || byte == UInt8(ascii: "\t") }
        let text = String(text)
        var bytes = text.utf8.drop(while: isBlank)
        while let last = bytes.last, isBlank(last) { bytes = bytes.dropLast() }
        if bytes.starts(with: "W/\"".utf8) { bytes = bytes.dropFirst(2) }
        if bytes.count >= 2, bytes.first == UInt8(ascii: "\""), bytes.last == UInt8(ascii: "\"") {
            bytes = bytes.dropFirst().dropLast()
        }
        self.init(Substring(bytes))
    }

    /// Parses a cursor. Never fails: an invalid text is ``unreadable``.
    /// - Parameter maximumLength: length in bytes above which a text is ``unreadable``.
    public init(_ text: some StringProtocol, maximumLength: Int = Self.maximumLength) {
        if text.isEmpty {
            self = .none
        } else if text == "0" {
            self = .start
        } else if text.utf8.count <= maximumLength {
            let parts = String(text).split(separator: "-", maxSplits: 3, omittingEmptySubsequences: false)
            self = Self.parse(parts.map { String($0) }) ?? .unreadable
        } else {
            self = .unreadable
        }
    }

    /// Parses the parts of a cursor between its hyphens.
    /// - Returns: `nil` if they are not an epoch and a version, or an epoch, a hash and versions.
    private static func parse(_ parts: [String]) -> Cursor? {
        guard let first = parts.first, let epoch = Epoch(first) else { return nil }
        switch parts.count {
        case 2:
            guard parts[1].utf8.allSatisfy({ (0x30...0x39).contains($0) }), let version = Version(parts[1]) else { return nil }
            return .flow(epoch, version)
        case 3:
            guard let hash = FlowSetHash(parts[1]) else { return nil }
            var versions: [Version?] = []
            for part in parts[2].split(separator: ".", omittingEmptySubsequences: false) {
                if part == "~" {
                    versions.append(nil)
                } else if part.utf8.allSatisfy({ Base36.isDigit($0) }), let version = Version(part, radix: 36) {
                    versions.append(version)
                } else {
                    return nil
                }
            }
            return .flows(epoch, hash, versions)
        default:
            return nil
        }
    }
}

/// A hash of a set of flow ids. A cursor of several flows carries it: its versions apply only to a stream of the same set.
public struct FlowSetHash: Hashable, Sendable, CustomStringConvertible {
    /// Length of the text, in bytes.
    public static let length = 11

    /// The hash as text.
    public let description: String

    /// Computes the hash: FNV-1a (64 bits) over the sorted ids, each followed by a line feed, in base 62.
    /// - Parameter flows: sorted, without duplicates.
    public init(of flows: [FlowID]) {
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for flow in flows {
            for byte in flow.rawValue.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
            hash = (hash ^ 0x0a) &* 0x100_0000_01b3
        }
        var digits = [UInt8](repeating: 0, count: Self.length)
        for index in digits.indices.reversed() {
            digits[index] = Self.alphabet[Int(hash % 62)]
            hash /= 62
        }
        self.description = String(decoding: digits, as: UTF8.self)
    }

    /// - Returns: `nil` if the text is not 11 characters of `0-9A-Za-z`.
    init?(_ text: String) {
        guard text.utf8.count == Self.length, text.utf8.allSatisfy({ Self.alphabet.contains($0) }) else { return nil }
        self.description = text
    }

    private static let alphabet = [UInt8]("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz".utf8)
}
