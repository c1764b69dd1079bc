import Synchronization

/// The import keys that this process uses now, and the encryption with them. Safe to use from any task.
public final class ImportKeyring: Sendable {
    /// Whether this process can read imports under a key of the ledger.
    public enum KeyState: Hashable, Sendable {
        case present
        /// There is no key of this name.
        case missing
        /// There is a key of this name, but another one encrypted the import.
        case different
    }

    private let cipher: any ImportCipher
    private let keys: Mutex<ImportKeySet>

    public init(_ cipher: any ImportCipher, keys: ImportKeySet = ImportKeySet()) {
        self.cipher = cipher
        self.keys = Mutex(keys)
    }

    /// Uses other keys from now on. An import whose upload has begun is completed under the key that it began with.
    public func replace(_ keys: ImportKeySet) { self.keys.withLock { $0 = keys } }

    /// Number of keys.
    public var count: Int { self.keys.withLock { $0.keys.count } }

    /// Name of the key that encrypts new imports; `nil` if none does.
    public var encryptingKey: String? { self.keys.withLock { $0.encrypting?.name } }

    /// Compares a key that the ledger names with the keys of this process.
    public func state(of encryption: ImportEncryption) -> KeyState {
        guard let key = self.key(encryption.key) else { return .missing }
        return self.check(key, encryption.salt) == encryption.check ? .present : .different
    }

    /// The encryption of a new copy of an import's records, under a key of its own; `nil` if no key encrypts.
    func newPieces(of id: ImportID, account: String) -> ImportPieces? {
        self.keys.withLock({ $0.encrypting }).map { self.newPieces(of: id, account: account, $0) }
    }

    /// The encryption of a new copy of an import's records under the import key with a name; `nil` if there is none.
    func newPieces(of id: ImportID, account: String, under name: String) -> ImportPieces? {
        self.key(name).map { self.newPieces(of: id, account: account, $0) }
    }

    private func newPieces(of id: ImportID, account: String, _ key: ImportKeySet.Key) -> ImportPieces {
        let salt = self.cipher.randomBytes(ImportEncryption.saltBytes)
        let encryption = ImportEncryption(key: key.name, salt: salt, check: self.check(key, salt))
        return self.pieces(encryption, key, id, account)
    }

    /// The decryption of an import's stored records.
    /// - Throws: ``ImportError/keyMissing(_:)`` or ``ImportError/keyDiffers(_:)``.
    func pieces(of encryption: ImportEncryption, _ id: ImportID, account: String) throws(ImportError) -> ImportPieces {
        guard let key = self.key(encryption.key) else { throw .keyMissing(encryption.key) }
        guard self.check(key, encryption.salt) == encryption.check else { throw .keyDiffers(encryption.key) }
        return self.pieces(encryption, key, id, account)
    }

    private func key(_ name: String) -> ImportKeySet.Key? { self.keys.withLock { $0.keys.first { $0.name == name } } }

    private func pieces(_ encryption: ImportEncryption, _ key: ImportKeySet.Key, _ id: ImportID, _ account: String)
        -> ImportPieces
    {
        let derived = self.cipher.derive(
            ImportKeySet.keyBytes, from: key.secret, salt: encryption.salt, info: Array("flowhub import key 1".utf8))
        return ImportPieces(encryption, key: derived, id: id, account: account, cipher: self.cipher)
    }

    private func check(_ key: ImportKeySet.Key, _ salt: [UInt8]) -> [UInt8] {
        self.cipher.derive(
            ImportEncryption.checkBytes, from: key.secret, salt: salt, info: Array("flowhub import check 1".utf8))
    }
}
