/// How an import's stored records are encrypted: the `encryption` column of the ledger. It has no secret. See
/// docs/decisions on the encryption of imports for the format.
public struct ImportEncryption: Hashable, Sendable {
    /// The version of the format that this hub writes and reads.
    static let version = 1
    static let saltBytes = 32
    static let checkBytes = 8

    /// Name of the import key.
    public let key: String
    /// The salt from which, with the import key, the key of these records is derived. Random for each copy of records
    /// that is written.
    let salt: [UInt8]
    /// Derived from the import key and the salt: shows whether a key of this name is the one that encrypted the records.
    let check: [UInt8]

    init(key: String, salt: [UInt8], check: [UInt8]) {
        self.key = key
        self.salt = salt
        self.check = check
    }

    /// Reads the column of the ledger. What has another form or version counts as encrypted in an unknown way: the import can be
    /// listed and deleted, and its records must not be taken for unencrypted.
    public init(stored json: JSONText?) { self = json.flatMap { Self($0) } ?? Self(key: "", salt: [], check: []) }

    /// Whether the records may be decrypted by this hub.
    public var isKnown: Bool { !self.salt.isEmpty }

    /// The form in the ledger.
    public var json: JSONText {
        .object { writer in
            writer.key("v")
            writer.value(Self.version)
            writer.key("key")
            writer.value(self.key)
            writer.key("salt")
            writer.value(String(decoding: Base64.encode(self.salt), as: UTF8.self))
            writer.key("check")
            writer.value(String(decoding: Base64.encode(self.check), as: UTF8.self))
        }
    }

    /// Reads the form in the ledger.
    /// - Returns: `nil` if it has another form or version.
    public init?(_ json: JSONText) {
        func bytes(_ name: String, _ count: Int) -> [UInt8]? {
            json.member(name)?.stringValue.flatMap { Base64.decode(Array($0.utf8)[...]) }.flatMap { $0.count == count ? $0 : nil }
        }
        guard json.isObject, json.member("v")?.intValue == Int64(Self.version), let key = json.member("key")?.stringValue,
            let salt = bytes("salt", Self.saltBytes), let check = bytes("check", Self.checkBytes)
        else { return nil }
        self.init(key: key, salt: salt, check: check)
    }
}
