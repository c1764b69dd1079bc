/// Reason why an import was not stored or cannot be read.
public enum ImportError: Error, Sendable {
    /// The maximum number of concurrent imports is in progress.
    case busy(limit: Int)
    /// The maximum number of concurrent imports of this account is in progress.
    case accountBusy(limit: Int)
    /// The account has the maximum number of imports.
    case accountFull(limit: Int)
    /// The account's import with the same `Idempotency-Key` is still `pending`.
    case inProgress
    /// The `Idempotency-Key` was used before with another body or other parameters.
    case keyConflict
    /// The flow that the upload request names belongs to another account.
    case otherAccount
    /// The content of the body is invalid.
    case input(ImportInputError)
    /// The body starts with the magic number of gzip and is not valid gzip. The text names the defect, as part of a
    /// sentence.
    case badGzip(String)
    /// The body as sent, the decompressed body, or the document exceeds ``ImportConfiguration/maximumBytes``.
    case tooLarge(limit: Int)
    /// The import expands beyond ``ImportConfiguration/maximumRatio``: the body by decompression, or CSV with long
    /// column names by conversion to JSON.
    case suspiciousRatio(limit: Int)
    /// Another worker has claimed the import, because this worker's claim expired.
    case claimLost
    /// The account has no import with this id, or the import is being deleted.
    case notFound
    /// The import is in another status than `stored`, so its records cannot be read.
    case notStored(Import.Status)
    /// For a deletion: another worker has claimed the import, or the import is not `stored` or `failed`. For a read:
    /// the records were moved between rows and object during each of three attempts to read them.
    case claimedByOther
    /// Download links are not supported: the records are rows, or the object store has no links.
    case linksUnsupported
    /// There is no download link, because the object is encrypted.
    case linkEncrypted
    /// The import is encrypted under a key of this name, which this process does not have.
    case keyMissing(String)
    /// The import is encrypted under a key of this name, and this process has another key under the name.
    case keyDiffers(String)
    /// The import's object is in an object store of this provider, which this process does not use.
    case storeNotConfigured(String)
    /// An operation of the object store failed.
    case objects(ObjectError)
    /// An operation of the database failed: of the ledger, of records as rows, or of a flow.
    case store(StoreError)
    /// The stored records are missing or differ from what was written. The text describes this in whole sentences.
    case damaged(String)
}

extension ImportError: CustomStringConvertible {
    /// A description for operators: ``reason``, with the error of the store if there is one.
    public var description: String {
        switch self {
        case .objects(let error): "\(self.reason) (\(error))"
        case .store(let error): "\(self.reason) (\(error))"
        default: self.reason
        }
    }
}

extension ImportError {
    /// Stable code for the `import_failed` event.
    var code: String {
        switch self {
        case .input(let error): error.code.rawValue
        case .badGzip: "bad_gzip"
        case .tooLarge: "import_too_large"
        case .suspiciousRatio: "gzip_ratio"
        case .claimLost: "taken_over"
        case .objects, .storeNotConfigured: "objects_unavailable"
        case .store: "store_unavailable"
        case .damaged: "import_damaged"
        case .keyMissing, .keyDiffers: "import_key_missing"
        case .busy, .accountBusy, .accountFull, .inProgress, .keyConflict, .otherAccount, .notFound, .notStored, .claimedByOther,
            .linksUnsupported, .linkEncrypted:
            "refused"
        }
    }

    /// Why the records of this one import cannot be read, in whole sentences; `nil` for an error that concerns others, too.
    public var unreadable: String? {
        switch self {
        case .damaged, .keyMissing, .keyDiffers: self.reason
        default: nil
        }
    }

    /// The reason as a sentence, for the ledger and the `import_failed` event.
    var reason: String {
        switch self {
        case .input(let error): error.description
        case .badGzip(let what): "Invalid gzip body: \(what)."
        case .tooLarge(let limit): "The import exceeds \(limit) bytes uncompressed (FLOWHUB_MAX_IMPORT_BYTES). Split it."
        case .suspiciousRatio(let limit):
            "The import expands to more than \(limit) times the size of its body (FLOWHUB_MAX_IMPORT_RATIO). "
                + "Split it into imports of at most 64 MiB uncompressed, for which the limit does not apply."
        case .claimLost: "The hub's claim on the import expired before the import was stored. Send the import again."
        case .storeNotConfigured(let provider):
            "The import's object is in the store \(provider), which is not configured for this process."
        case .objects: "The object store failed while it stored the import. Send the import again."
        case .store: "The database failed while it stored the import. Send the import again."
        case .damaged(let what): what
        case .keyMissing(let name):
            "The import is encrypted with the import key \(name), which the file of FLOWHUB_IMPORT_KEYS does not have. "
                + "Add the key to the file again; without it the records cannot be read."
        case .keyDiffers(let name):
            "The import is encrypted with an import key \(name) that differs from the key of this name in the file of "
                + "FLOWHUB_IMPORT_KEYS. Put the earlier key back under this name, and give the other one a new name."
        case .busy, .accountBusy, .accountFull, .inProgress, .keyConflict, .otherAccount, .notFound, .notStored, .claimedByOther,
            .linksUnsupported, .linkEncrypted:
            "The hub rejected the import. Nothing was stored."
        }
    }
}
