/// Why an import was not taken in, or cannot be read.
public enum ImportError: Error, Sendable {
    /// As many are being taken in as may.
    case busy(limit: Int)
    /// As many of this account are being taken in as may.
    case accountBusy(limit: Int)
    /// The same `Idempotency-Key` is being taken in.
    case inProgress
    /// The `Idempotency-Key` was used for other bytes or other parameters.
    case keyConflict
    /// The flow belongs to another account.
    case otherAccount
    case input(ImportInputError)
    /// The body is not the gzip data that it begins as.
    case badGzip(String)
    /// More unpacked bytes than ``ImportConfiguration/maximumBytes``.
    case tooLarge(limit: Int)
    /// Gzip data, or CSV with long names of columns, that become far more than anybody's records do.
    case suspiciousRatio(limit: Int)
    /// Another worker took the import over: this one had not been heard of for too long.
    case takenOver
    /// No such import of this account.
    case notFound
    /// It is not whole yet, or came to nothing.
    case notStored(Import.Status)
    /// Somebody works on it just now.
    case held
    /// The records are rows, or the store has no links.
    case noLink
    case objects(ObjectError)
    case store(StoreError)
    /// What is stored is not what was.
    case damaged(String)
}

extension ImportError {
    /// A stable name for an event.
    var code: String {
        switch self {
        case .input(let error): error.code.rawValue
        case .badGzip: "bad_gzip"
        case .tooLarge: "import_too_large"
        case .suspiciousRatio: "gzip_ratio"
        case .takenOver: "taken_over"
        case .objects: "objects_unavailable"
        case .store: "store_unavailable"
        case .damaged: "import_damaged"
        case .busy, .accountBusy, .inProgress, .keyConflict, .otherAccount, .notFound, .notStored, .held, .noLink: "refused"
        }
    }

    /// What to tell those who watch.
    var reason: String {
        switch self {
        case .input(let error): error.description
        case .badGzip(let what): "The body is not valid gzip: \(what)."
        case .tooLarge(let limit): "The import has more than \(limit) bytes unpacked."
        case .suspiciousRatio(let limit): "The body becomes more than \(limit) times its size."
        case .takenOver: "It took too long without a word, and was given up."
        case .objects: "The object store did not take it."
        case .store: "The store did not take it."
        case .damaged(let what): what
        case .busy, .accountBusy, .inProgress, .keyConflict, .otherAccount, .notFound, .notStored, .held, .noLink:
            "It was refused."
        }
    }
}
