/// The sequence number of a flow's durable events: 1, 2, 3 … without gaps; 0 before the first event.
public typealias Version = Int64

/// The identifier of one history of the store: `<counter>.<random>`, at most 16 bytes, ordered by counter, then random part.
///
/// Versions can be compared only within one epoch. After the store was restored to an older copy, the same versions are
/// assigned again to other events; raising the epoch distinguishes the two.
public struct Epoch: Hashable, Sendable, Comparable, CustomStringConvertible {
    /// Maximum length of the text, in bytes.
    public static let maximumLength = 16

    /// The number that orders epochs, in text written in base 36. In a raised epoch it is at least the Unix time, in
    /// seconds, at which the epoch was raised.
    public let counter: UInt64
    /// Random digits of base 36. They distinguish epochs that were raised independently with the same counter.
    public let random: String

    public init(counter: UInt64, random: String) {
        self.counter = counter
        self.random = random
    }

    /// Parses an epoch.
    /// - Returns: `nil` if the text is longer than 16 bytes, or is not a number and at least one digit of base 36
    ///   (`0-9a-z`), separated by a dot, in canonical form.
    public init?(_ text: some StringProtocol) {
        guard text.utf8.count <= Self.maximumLength else { return nil }
        let parts = text.split(separator: ".", maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.count == 2, let counter = UInt64(parts[0], radix: 36), !parts[1].isEmpty,
            parts[1].utf8.allSatisfy({ Base36.isDigit($0) })
        else { return nil }
        self.counter = counter
        self.random = String(parts[1])
        // Only the canonical form: `UInt64` also parses a sign, capital letters and leading zeros.
        guard self.description == text else { return nil }
    }

    /// Returns a higher epoch, to raise this one. The result is also higher than epochs that other instances raised in
    /// earlier seconds, as far as their clocks agree.
    /// - Parameter random: random digits of base 36; at most 8, so that the text stays within ``maximumLength``.
    public func raised(atUnixSeconds seconds: Int64, random: String) -> Epoch {
        Epoch(counter: max(self.counter + 1, UInt64(max(0, seconds))), random: random)
    }

    public static func < (left: Epoch, right: Epoch) -> Bool {
        (left.counter, left.random) < (right.counter, right.random)
    }

    public var description: String { "\(String(self.counter, radix: 36)).\(self.random)" }
}

/// The digits of numbers in base 36, in lower case.
enum Base36 {
    /// Whether the byte is one of `0-9a-z`.
    static func isDigit(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "z"): true
        default: false
        }
    }
}
