/// What a client says about where it stopped reading: the text of `Last-Event-ID` or `?last_event_id=`, understood.
public enum Cursor: Hashable, Sendable {
    /// Nothing said: a newcomer.
    case none
    /// `0`: from the start of history.
    case start
    /// One flow: `<epoch>-<version>`.
    case flow(Epoch, Version)
    /// Several flows: `<epoch>-<hash of the sorted ids>-<versions in base 36>`.
    case flows(Epoch, FlowSetHash, [Version?])
    /// Text that no hub of this kind has ever sent. It is answered by a `resync`, never by an error, because an
    /// `EventSource` that meets an error is gone for good.
    case unreadable

    /// The longest text that a hub sends. Longer or stranger ids would cost a browser a CORS preflight at each reconnect.
    public static let maximumLength = 128

    public init(_ text: some StringProtocol) {
        if text.isEmpty {
            self = .none
        } else if text == "0" {
            self = .start
        } else if text.utf8.count <= Self.maximumLength {
            let parts = String(text).split(separator: "-", maxSplits: 3, omittingEmptySubsequences: false)
            self = Self.parse(parts.map { String($0) }) ?? .unreadable
        } else {
            self = .unreadable
        }
    }

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

/// A fingerprint of a set of flows: which flows the versions of a cursor belong to, in which order.
public struct FlowSetHash: Hashable, Sendable, CustomStringConvertible {
    public static let length = 11

    public let description: String

    /// FNV-1a (64 bits) over the sorted ids, in base 62.
    /// - Parameter flows: sorted, without doubles.
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

    init?(_ text: String) {
        guard text.utf8.count == Self.length, text.utf8.allSatisfy({ Self.alphabet.contains($0) }) else { return nil }
        self.description = text
    }

    private static let alphabet = [UInt8]("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz".utf8)
}
