import Crypto

/// Creates and checks the MACs that distinguish the hub's own messages from those of other Redis clients. The key is
/// derived from the hub id in the store: all instances have it, and a process with access to Redis alone does not.
///
/// A MAC is the first 16 bytes of the HMAC-SHA-256 of a message (RFC 2104, truncated as section 5 allows), in
/// hexadecimal.
struct MessageAuthenticator: Sendable {
    /// Length of a MAC in hexadecimal digits.
    static let macLength = 32

    /// HMAC state that already includes the key, so that each MAC only hashes its message.
    private let prepared: HMAC<SHA256>

    /// - Parameter hubID: 128 random bits, stored only in the hub's store.
    init(hubID: String) {
        self.prepared = HMAC<SHA256>(key: SymmetricKey(data: SHA256.hash(data: Array("flowhub bus \(hubID)".utf8))))
    }

    /// A public name of the hub. It is the same for all instances, and the hub id cannot be derived from it.
    static func publicName(of hubID: String) -> String {
        Self.hex(SHA256.hash(data: Array("flowhub name \(hubID)".utf8)).prefix(8))
    }

    /// The MAC of the bytes, as hexadecimal digits in ASCII.
    func mac(for bytes: some Sequence<UInt8>) -> [UInt8] { Array(Self.hex(self.code(Array(bytes)).prefix(16)).utf8) }

    /// The MAC of an entry in Redis. The kind and the context keep the MAC from being valid for another entry. Each is followed
    /// by a line feed, which the texts of the other MACs do not contain before their JSON.
    /// - Parameters:
    ///   - kind: the kind of entry, such as `lock`.
    ///   - context: where the entry belongs, such as its account and key; no line feeds.
    func mac(ofEntry kind: String, _ context: [String], _ bytes: [UInt8] = []) -> [UInt8] {
        self.mac(for: Array(([kind] + context).map { $0 + "\n" }.joined().utf8) + bytes)
    }

    /// Whether the entry has this MAC; see ``mac(ofEntry:_:_:)``.
    func isAuthentic(entry kind: String, _ context: [String], _ bytes: [UInt8] = [], mac: [UInt8]) -> Bool {
        let entry = Array(([kind] + context).map { $0 + "\n" }.joined().utf8) + bytes
        return entry.withUnsafeBytes { entry in mac.withUnsafeBytes { self.isAuthentic(entry, mac: $0) } }
    }

    /// Whether the MAC is that of the bytes. The comparison takes constant time.
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

    /// The untruncated HMAC-SHA-256 of the bytes.
    private func code(_ bytes: [UInt8]) -> HMAC<SHA256>.MAC {
        var hash = self.prepared
        hash.update(data: bytes)
        return hash.finalize()
    }

    /// The bytes in hexadecimal, two lower-case digits per byte.
    private static func hex(_ bytes: some Sequence<UInt8>) -> String {
        String(decoding: bytes.flatMap { [Self.digit($0 >> 4), Self.digit($0 & 15)] }, as: UTF8.self)
    }

    /// The hexadecimal digit for a value from 0 to 15, in ASCII.
    private static func digit(_ value: UInt8) -> UInt8 { value < 10 ? value + UInt8(ascii: "0") : value + UInt8(ascii: "a") - 10 }
}
