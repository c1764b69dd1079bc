#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

/// An IP address of 128 bits. IPv4 addresses are IPv4-mapped (RFC 4291, 2.5.5.2): a listener for both protocols reports them so.
struct IPAddress: Hashable, Sendable {
    let high: UInt64
    let low: UInt64

    /// - Parameter bytes: 4 bytes of an IPv4 address or 16 bytes of an IPv6 address, in network order.
    init?(bytes: some Collection<UInt8>) {
        func number(_ bytes: some Sequence<UInt8>) -> UInt64 { bytes.reduce(0) { $0 << 8 | UInt64($1) } }
        switch bytes.count {
        case 4: (self.high, self.low) = (0, 0xffff_0000_0000 | number(bytes))
        case 16: (self.high, self.low) = (number(bytes.prefix(8)), number(bytes.dropFirst(8)))
        default: return nil
        }
    }

    /// Parses an address as `inet_pton(3)` does: `192.0.2.1`, `2001:db8::1`. No zone, no brackets.
    init?(_ text: some StringProtocol) {
        guard text.utf8.count <= 45 else { return nil }
        let string = String(text)
        var bytes = [UInt8](repeating: 0, count: 16)
        if string.contains(":") {
            guard inet_pton(AF_INET6, string, &bytes) == 1 else { return nil }
            self.init(bytes: bytes)
        } else {
            guard inet_pton(AF_INET, string, &bytes) == 1 else { return nil }
            self.init(bytes: bytes.prefix(4))
        }
    }

    /// Whether this is an IPv4 address.
    var isIPv4: Bool { self.high == 0 && self.low >> 32 == 0xffff }

    /// Whether this is an address of this machine alone: in 127.0.0.0/8, also IPv4-mapped, or `::1`.
    var isLoopback: Bool { self.isIPv4 ? (self.low >> 24) & 0xff == 127 : (self.high, self.low) == (0, 1) }

    /// The address in the form of `inet_ntop(3)`.
    var text: String {
        let bytes = (0..<16).map { index in
            UInt8(truncatingIfNeeded: (index < 8 ? self.high : self.low) >> UInt64(56 - 8 * (index % 8)))
        }
        if self.isIPv4 { return bytes[12...].map { String($0) }.joined(separator: ".") }
        var buffer = [CChar](repeating: 0, count: 46)
        guard inet_ntop(AF_INET6, bytes, &buffer, 46) != nil else { return "" }
        return String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}

/// A range of IP addresses with a common prefix.
struct IPNetwork: Hashable, Sendable {
    private let high: UInt64
    private let low: UInt64
    /// Length of the prefix in bits, counted in 128 bits.
    private let length: Int

    /// Parses `address` or `address/length` (RFC 4632, 3.1). Bits after the prefix must be 0, so that `10.0.0.1/8` is noticed as a
    /// mistake.
    init?(_ text: some StringProtocol) {
        let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        guard let first = parts.first, let address = IPAddress(first) else { return nil }
        let offset = address.isIPv4 && !first.contains(":") ? 96 : 0
        var length = 128
        if parts.count == 2 {
            guard parts[1].utf8.count <= 3, parts[1].utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }),
                let bits = Int(parts[1]), bits <= 128 - offset
            else { return nil }
            length = offset + bits
        }
        (self.high, self.low, self.length) = (address.high, address.low, length)
        guard self.masked(address) == (address.high, address.low) else { return nil }
    }

    /// Whether the address is in the network.
    func contains(_ address: IPAddress) -> Bool { self.masked(address) == (self.high, self.low) }

    /// The address with all bits after the prefix set to 0.
    private func masked(_ address: IPAddress) -> (UInt64, UInt64) {
        // A shift by 64 or more gives 0.
        let highMask = ~(UInt64.max >> UInt64(min(self.length, 64)))
        let lowMask = ~(UInt64.max >> UInt64(max(self.length - 64, 0)))
        return (address.high & highMask, address.low & lowMask)
    }
}
