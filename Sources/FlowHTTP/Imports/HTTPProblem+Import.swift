import FlowCore
import HTTPTypes

extension HTTPProblem {
    /// The response to a request about imports, if the request failed with this error.
    init(_ error: ImportError) {
        switch error {
        case .busy(let limit):
            self = .later(
                "imports_busy", "\(limit) imports are in progress (FLOWHUB_MAX_IMPORTS). Retry later.",
                seconds: 5)
        case .accountBusy(let limit):
            self.init(
                .tooManyRequests, "too_many_imports",
                "\(limit) imports of this account are in progress (FLOWHUB_MAX_ACCOUNT_IMPORTS). Retry later.")
            self.headers[.retryAfter] = "5"
        case .accountFull(let limit): self = .accountLimit(.imports, limit)
        case .inProgress:
            self.init(
                .conflict, "import_in_progress", "An import with this Idempotency-Key is in progress. Retry later.")
            self.headers[.retryAfter] = "5"
        case .keyConflict:
            self.init(
                .unprocessableContent, "idempotency_conflict",
                "The Idempotency-Key was used for an import with a different body or parameters. Use a new key.")
        case .otherAccount: self = .otherAccount
        case .input(let error): self.init(error)
        case .badGzip(let what):
            self.init(.badRequest, "bad_gzip", "Invalid gzip body: \(what). Nothing was stored.")
        case .tooLarge(let limit):
            self.init(
                .contentTooLarge, "import_too_large",
                "The import exceeds \(limit) bytes uncompressed (FLOWHUB_MAX_IMPORT_BYTES). Split it. Nothing was stored."
            )
        case .suspiciousRatio(let limit):
            self.init(
                .contentTooLarge, "gzip_ratio",
                "The import expands to more than \(limit) times the size of its body (FLOWHUB_MAX_IMPORT_RATIO). Nothing was "
                    + "stored.")
        case .claimLost:
            self = .later(
                "import_taken_over", "The import was interrupted: its claim was not renewed in time. Send it again.")
        case .notFound: self = .notFound("Import not found.")
        case .notStored(.pending):
            self.init(.conflict, "import_pending", "The import is not stored yet. Retry later.")
            self.headers[.retryAfter] = "5"
        case .notStored:
            self.init(.conflict, "import_failed", "The import failed and has no records. Send it again.")
        case .claimedByOther:
            self.init(
                .conflict, "import_held", "Another worker has claimed the import, for example to move it. Retry later.")
            self.headers[.retryAfter] = "5"
        case .linksUnsupported:
            self.init(
                .conflict, "no_link",
                "The store of this import does not support download links. Use GET /v1/imports/{id}/data.")
        case .linkEncrypted:
            self.init(
                .conflict, "import_encrypted",
                "The object of this import is encrypted, so a download link would not give its records. "
                    + "Use GET /v1/imports/{id}/data.")
        case .keyMissing, .keyDiffers:
            self = .later("import_key_missing", "\(error.unreadable ?? "") Nothing was changed.", seconds: 30)
        case .storeNotConfigured(let provider):
            self.init(
                ObjectError.rejected("the import's object is in the store \(provider), which is not configured for this process"))
        case .objects(let error): self.init(error)
        case .store(let error): self.init(error)
        case .damaged(let what):
            self.init(
                .internalServerError, "import_damaged", "\(what) Nothing was changed. Run `flowhub imports verify`.")
        }
    }

    /// The response to a request that failed because of an error of the object store.
    private init(_ error: ObjectError) {
        switch error {
        case .unavailable(let reason):
            self = .later(
                "objects_unavailable", "The object store is unavailable (\(reason)). Nothing was changed. Retry later.")
        case .rejected(let reason):
            self = .later(
                "objects_refused",
                "The object store rejected the hub's request (\(reason)). Nothing was changed. Check the R2 settings.",
                seconds: 30)
        case .corrupted(let reason):
            self = .later("objects_corrupted", "The object store sent a corrupted response (\(reason)). Retry.")
        case .notFound, .exists, .invalid:
            self.init(
                .internalServerError, "internal",
                "The object store sent an unexpected response. Retry; if it persists, contact the hub's operator.")
        }
    }

    /// The response to an upload with invalid content. Additional JSON members give the position of the error.
    private init(_ error: ImportInputError) {
        let isTooLarge = error.code == .recordTooLarge || error.code == .tooManyColumns
        self.init(
            isTooLarge ? .contentTooLarge : .badRequest, error.code.rawValue, "\(error) Nothing was stored.")
        func number(_ value: Int) -> JSONText { JSONText(trusted: Array(String(value).utf8)) }
        self.members = [("line", number(error.line)), ("column", number(error.column)), ("offset", number(error.offset))]
        if let record = error.record { self.members.append(("record", number(record))) }
    }

    /// A 503 with the time in seconds after which to retry.
    private static func later(_ code: String, _ detail: String, seconds: Int = 1) -> HTTPProblem {
        var problem = HTTPProblem(.serviceUnavailable, code, detail)
        problem.headers[.retryAfter] = String(seconds)
        return problem
    }
}
