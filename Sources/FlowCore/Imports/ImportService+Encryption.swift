extension ImportService {
    /// The encryption of a new copy of an import's records; `nil` if no import key encrypts.
    func newPieces(for entry: Import) -> ImportPieces? { self.keyring?.newPieces(of: entry.id, account: entry.account) }

    /// The encryption of a copy of an import's records that is encrypted if they are, also if no import key encrypts any more: then
    /// under the key that they have. `nil` if they are not encrypted.
    /// - Throws: ``ImportError/keyMissing(_:)``
    func newPieces(like entry: Import) throws(ImportError) -> ImportPieces? {
        guard let encryption = entry.encryption else { return nil }
        if let pieces = self.newPieces(for: entry) { return pieces }
        guard let pieces = self.keyring?.newPieces(of: entry.id, account: entry.account, under: encryption.key) else {
            throw .keyMissing(encryption.key)
        }
        return pieces
    }

    /// The decryption of an import's records; `nil` if they are not encrypted.
    /// - Throws: ``ImportError/keyMissing(_:)`` or ``ImportError/keyDiffers(_:)``.
    func pieces(of entry: Import) throws(ImportError) -> ImportPieces? {
        guard let encryption = entry.encryption else { return nil }
        guard encryption.isKnown else {
            throw .damaged(
                "The ledger describes the import's encryption in a form that this hub does not know (encryption). Use the "
                    + "release that stored the import, or restore the column.")
        }
        guard let keyring = self.keyring else { throw .keyMissing(encryption.key) }
        return try keyring.pieces(of: encryption, entry.id, account: entry.account)
    }

    /// The cache for a value of an import. What is derived from an encrypted import stays in the memory of this process;
    /// so do all samples without ``ImportConfiguration/sharesSamples``.
    func cache(for kind: ImportCacheKind, of entry: Import) -> any ImportCache {
        let isShared = entry.encryption == nil && (kind != .sample || self.configuration.sharesSamples)
        return isShared ? self.cache : self.localCache
    }

    /// Removes the cached values of an import.
    func forget(_ id: ImportID) {
        self.cache.remove(id)
        self.localCache.remove(id)
    }
}

extension ImportService {
    /// Whether there are import keys, of which one may encrypt.
    public var hasImportKeys: Bool { self.importKeyCount > 0 }

    /// Number of import keys of this process.
    public var importKeyCount: Int { self.keyring?.count ?? 0 }

    /// Whether an import is not encrypted with the import key that encrypts new imports, or is encrypted although no key
    /// encrypts new imports.
    public func isUnderOtherKey(_ entry: Import) -> Bool { entry.encryption?.key != self.keyring?.encryptingKey }
}
