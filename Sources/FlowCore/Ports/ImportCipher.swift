/// The port for the cryptography of encrypted imports, which a C library implements. Safe to use from any task; runs on the
/// caller's thread.
public protocol ImportCipher: Sendable {
    /// Random bytes for a salt, from a generator that is safe for keys.
    func randomBytes(_ count: Int) -> [UInt8]
    /// HKDF with SHA-256 (RFC 5869).
    /// - Returns: `count` bytes.
    func derive(_ count: Int, from secret: [UInt8], salt: [UInt8], info: [UInt8]) -> [UInt8]
    /// Encrypts with AES-256-GCM (NIST SP 800-38D).
    /// - Parameters:
    ///   - key: 32 bytes.
    ///   - nonce: 12 bytes, which were never used under this key for other bytes.
    /// - Returns: the encrypted bytes, followed by the tag of 16 bytes.
    func seal(_ bytes: [UInt8], key: [UInt8], nonce: [UInt8], associatedData: [UInt8]) -> [UInt8]
    /// Decrypts what ``seal(_:key:nonce:associatedData:)`` returned.
    /// - Returns: `nil` if bytes, key, nonce or associated data differ.
    func open(_ sealed: [UInt8], key: [UInt8], nonce: [UInt8], associatedData: [UInt8]) -> [UInt8]?
}
