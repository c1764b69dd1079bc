/// The choice between object and rows for new imports, by which a share of them goes to the object store.
enum ObjectShare {
    /// Whether an import is among the first `percent` of all imports, in an order that depends only on account and id. So the
    /// choice is the same in every process, and a higher percentage keeps all imports of a lower one.
    static func includes(_ id: ImportID, account: String, percent: Int) -> Bool {
        let text = Array("\(account)/\(id)".utf8)
        return StableHash.hash(text[...], seed: 0) % 100 < UInt64(max(0, percent))
    }
}

extension ImportService {
    /// Whether the records of a new import are stored as an object: there is an object store, and the import is in the share
    /// of it. Otherwise they are stored as rows.
    func storesAsObject(_ id: ImportID, account: String) -> Bool {
        self.objects != nil && ObjectShare.includes(id, account: account, percent: self.configuration.objectShare)
    }
}
