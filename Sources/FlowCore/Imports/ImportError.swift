/// Reason why an import was not stored or cannot be read.
public enum ImportError: Error, Sendable {
    /// The maximum number of concurrent imports is in progress.
    case busy(limit: Int)
    /// The maximum number of concurrent imports of this account is in progress.
    case accountBusy(limit: Int)
    /// An import with the same `Idempotency-Key` is in progress.
    case inProgress
    /// The `Idempotency-Key` was used before with another body or other parameters.
    case keyConflict
    /// The flow belongs to another account.
    case otherAccount
    /// The content of the body is invalid.
    case input(ImportInputError)
    /// The body starts with the magic number of gzip and is not valid gzip.
    case badGzip(String)
    /// The body or the document exceeds ``ImportConfiguration/maximumBytes``, uncompressed.
    case tooLarge(limit: Int)
    /// The body or the document expands beyond ``ImportConfiguration/maximumRatio``: gzip data, or CSV with long
    /// column names.
    case suspiciousRatio(limit: Int)
    /// Another worker has claimed the import, because this worker's claim expired.
    case claimLost
    /// The account has no import with this id.
    case notFound
    /// The import is in another status than `stored`, so its records cannot be read.
    case notStored(Import.Status)
    /// Another worker has claimed the import, or it was moved during each of several attempts to read it.
    case claimedByOther
    /// Download links are not supported: the records are rows, or the object store has no links.
    case linksUnsupported
    case objects(ObjectError)
    case store(StoreError)
    /// The stored data differs from what was written. The text is a sentence that says how.
    case damaged(String)
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
        case .objects: "objects_unavailable"
        case .store: "store_unavailable"
        case .damaged: "import_damaged"
        case .busy, .accountBusy, .inProgress, .keyConflict, .otherAccount, .notFound, .notStored, .claimedByOther,
            .linksUnsupported:
            "refused"
        }
    }

    /// The reason as a sentence, for the ledger and the `import_failed` event.
    var reason: String {
        switch self {
        case .input(let error): error.description
        case .badGzip(let what): "Invalid gzip body: \(what)."
        case .tooLarge(let limit): "The import exceeds \(limit) bytes uncompressed (FLOWHUB_MAX_IMPORT_BYTES)."
        case .suspiciousRatio(let limit): "The body expands to more than \(limit) times its size (FLOWHUB_MAX_IMPORT_RATIO)."
        case .claimLost: "The import's claim expired."
        case .objects: "The object store failed."
        case .store: "The store failed."
        case .damaged(let what): what
        case .busy, .accountBusy, .inProgress, .keyConflict, .otherAccount, .notFound, .notStored, .claimedByOther,
            .linksUnsupported:
            "The import was rejected."
        }
    }
}
