import Crypto

/// What tells the hub's own messages from everybody else's: a key that all instances of one hub have from its store, and that
/// nobody has who only reaches Redis.
///
/// A message bears the first 16 bytes of its HMAC-SHA-256 (RFC 2104, truncated as section 5 allows).
struct MessageAuthenticator: Sendable {
    /// Hexadecimal digits of a mark.
    static let macLength = 32

    /// With the key in it already: what is left to do for a message is the message.
    private let prepared: HMAC<SHA256>

    /// - Parameter hubID: random, and written nowhere but in the store.
    init(hubID: String) {
        self.prepared = HMAC<SHA256>(key: SymmetricKey(data: SHA256.hash(data: Array("flowhub bus \(hubID)".utf8))))
    }

    /// What may be shown of the hub: alike for all of its instances, and no way back to its id.
    static func publicName(of hubID: String) -> String {
        Self.hex(SHA256.hash(data: Array("flowhub name \(hubID)".utf8)).prefix(8))
    }

    func mac(for bytes: some Sequence<UInt8>) -> [UInt8] { Array(Self.hex(self.code(Array(bytes)).prefix(16)).utf8) }

    /// Takes the same time wherever a wrong mark differs.
    func isAuthentic(_ bytes: UnsafeRawBufferPointer, mac: UnsafeRawBufferPointer) -> Bool {
        guard mac.count == Self.macLength else { return false }
        var hash = self.prepared
        hash.update(data: bytes)
        var difference: UInt8 = 0
        var index = 0
        for byte in hash.finalize().prefix(16) {
            difference |= Self.digit(byte >> 4) ^ mac[index]
            difference |= Self.digit(byte & 15) ^ mac[index + 1]
            index += 2
        }
        return difference == 0
    }

    private func code(_ bytes: [UInt8]) -> HMAC<SHA256>.MAC {
        var hash = self.prepared
        hash.update(data: bytes)
        return hash.finalize()
    }

    private static func hex(_ bytes: some Sequence<UInt8>) -> String {
        String(decoding: bytes.flatMap { [Self.digit($0 >> 4), Self.digit($0 & 15)] }, as: UTF8.self)
    }

    private static func digit(_ value: UInt8) -> UInt8 { value < 10 ? value + UInt8(ascii: "0") : value + UInt8(ascii: "a") - 10 }
}
