/// A flow's position in its own history: 1, 2, 3 … without a hole; 0 before the first event.
public typealias Version = Int64

/// The name of one history of the store: `<counter>.<random>`, at most 16 bytes, ordered by its counter.
///
/// A version means something only together with the epoch in which it was given: after a restore to an older copy the
/// same numbers are handed out again, and the raised epoch keeps the two apart.
public struct Epoch: Hashable, Sendable, Comparable, CustomStringConvertible {
    public static let maximumLength = 16

    public let counter: UInt64
    public let random: String

    public init(counter: UInt64, random: String) {
        self.counter = counter
        self.random = random
    }

    /// - Returns: `nil` if the text is not `<base 36>.<1 to 8 letters or digits>`.
    public init?(_ text: some StringProtocol) {
        guard text.utf8.count <= Self.maximumLength else { return nil }
        let parts = text.split(separator: ".", maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.count == 2, let counter = UInt64(parts[0], radix: 36), !parts[1].isEmpty,
            parts[1].utf8.allSatisfy({ Base36.isDigit($0) })
        else { return nil }
        self.counter = counter
        self.random = String(parts[1])
        // One spelling: `UInt64` takes a sign, capitals and leading zeros as well.
        guard self.description == text else { return nil }
    }

    /// The epoch of a new or raised history: above this one and, as far as clocks agree, above any other.
    public func raised(atUnixSeconds seconds: Int64, random: String) -> Epoch {
        Epoch(counter: max(self.counter + 1, UInt64(max(0, seconds))), random: random)
    }

    public static func < (left: Epoch, right: Epoch) -> Bool {
        (left.counter, left.random) < (right.counter, right.random)
    }

    public var description: String { "\(String(self.counter, radix: 36)).\(self.random)" }
}

enum Base36 {
    static func isDigit(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "z"): true
        default: false
        }
    }
}
