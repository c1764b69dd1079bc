import FlowCore
import HTTPTypes

extension HTTPProblem {
    init(_ error: ImportError) {
        switch error {
        case .busy(let limit):
            self = .later(
                "imports_busy", "\(limit) imports are being taken in already (FLOWHUB_MAX_IMPORTS). Try again in a while.",
                seconds: 5)
        case .accountBusy(let limit):
            self.init(
                .tooManyRequests, "too_many_imports",
                "\(limit) imports of this account are being taken in already (FLOWHUB_MAX_ACCOUNT_IMPORTS). Wait for one to end.")
            self.headers[.retryAfter] = "5"
        case .inProgress:
            self.init(
                .conflict, "import_in_progress", "The import under this Idempotency-Key is being taken in. Try again in a while.")
            self.headers[.retryAfter] = "5"
        case .keyConflict:
            self.init(
                .unprocessableContent, "idempotency_conflict",
                "The Idempotency-Key was used for an import of other bytes or parameters. Take a new key.")
        case .otherAccount: self = .otherAccount
        case .input(let error): self.init(error)
        case .badGzip(let what):
            self.init(.badRequest, "bad_gzip", "The body begins as gzip and is not valid: \(what). Nothing of it was kept.")
        case .tooLarge(let limit):
            self.init(
                .contentTooLarge, "import_too_large",
                "An import may have \(limit) bytes unpacked (FLOWHUB_MAX_IMPORT_BYTES). Send it in parts. Nothing of it was kept."
            )
        case .suspiciousRatio(let limit):
            self.init(
                .contentTooLarge, "gzip_ratio",
                "The body becomes more than \(limit) times its size (FLOWHUB_MAX_IMPORT_RATIO). Nothing of it was kept.")
        case .claimLost:
            self = .later("import_taken_over", "The import took too long without a word and was given up. Send it again.")
        case .notFound: self = .notFound("There is no such import.")
        case .notStored(.pending):
            self.init(.conflict, "import_pending", "The import is still being taken in. Its flow is told when it is stored.")
            self.headers[.retryAfter] = "5"
        case .notStored:
            self.init(.conflict, "import_failed", "The import came to nothing, so it has no records. Send it again.")
        case .claimedByOther:
            self.init(.conflict, "import_held", "Somebody works on this import just now. Try again in a while.")
            self.headers[.retryAfter] = "5"
        case .linksUnsupported:
            self.init(.conflict, "no_link", "This import has no download link where it is stored. Read its /data instead.")
        case .objects(let error): self.init(error)
        case .store(let error): self.init(error)
        case .damaged(let what):
            self.init(
                .internalServerError, "import_damaged", "\(what) `flowhub imports verify` tells more; nothing was changed.")
        }
    }

    private init(_ error: ObjectError) {
        switch error {
        case .unavailable(let reason):
            self = .later(
                "objects_unavailable", "The object store cannot be had now (\(reason)). Nothing was changed; try again.")
        case .refused(let reason):
            self.init(
                .internalServerError, "objects_refused",
                "The object store refuses the hub (\(reason)). Its operator must look at the R2 settings.")
        case .corrupted(let reason):
            self = .later("objects_corrupted", "What came from the object store was not whole (\(reason)). Try again.")
        case .notFound, .exists, .invalid:
            self.init(
                .internalServerError, "internal", "The hub and its object store disagree. Try again, and tell the operator.")
        }
    }

    private init(_ error: ImportInputError) {
        let isTooLarge = error.code == .recordTooLarge || error.code == .tooManyColumns
        self.init(
            isTooLarge ? .contentTooLarge : .badRequest, error.code.rawValue, "\(error) Nothing of the import was kept.")
        func number(_ value: Int) -> JSONText { JSONText(trusted: Array(String(value).utf8)) }
        self.members = [("line", number(error.line)), ("column", number(error.column)), ("offset", number(error.offset))]
        if let record = error.record { self.members.append(("record", number(record))) }
    }

    private static func later(_ code: String, _ detail: String, seconds: Int = 1) -> HTTPProblem {
        var problem = HTTPProblem(.serviceUnavailable, code, detail)
        problem.headers[.retryAfter] = String(seconds)
        return problem
    }
}
