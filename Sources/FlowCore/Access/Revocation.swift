/// The end of all tokens of an account's subject that were issued before a moment.
public struct Revocation: Sendable, Hashable {
    public let account: String
    public let subject: String
    /// Unix seconds. A token issued at this second or later is good again.
    public let notBefore: Int64

    public init(account: String, subject: String, notBefore: Int64) {
        self.account = account
        self.subject = subject
        self.notBefore = notBefore
    }
}

/// The revocations an instance knows of; a value, swapped whole when the store is read again.
///
/// One entry for each subject: of two revocations the later holds, in whichever order they are read.
public struct RevocationList: Sendable, Equatable {
    private struct Holder: Hashable {
        let account: String
        let subject: String
    }

    private var notBefore: [Holder: Int64] = [:]

    public init() {}

    public init(_ revocations: some Sequence<Revocation>) {
        for revocation in revocations {
            self.insert(revocation)
        }
    }

    /// - Returns: whether the list changed; `false` if a revocation that reaches as far was known.
    @discardableResult
    public mutating func insert(_ revocation: Revocation) -> Bool {
        let holder = Holder(account: revocation.account, subject: revocation.subject)
        if let known = self.notBefore[holder], known >= revocation.notBefore { return false }
        self.notBefore[holder] = revocation.notBefore
        return true
    }

    /// Whether the principal's token was issued before its subject's revocation. The open principal has no token and is not.
    public func isRevoked(_ principal: Principal) -> Bool {
        guard !principal.isOpen, !self.notBefore.isEmpty,
            let notBefore = self.notBefore[Holder(account: principal.account, subject: principal.subject)]
        else { return false }
        return principal.issuedAt < notBefore
    }

    public var count: Int { self.notBefore.count }
    public var isEmpty: Bool { self.notBefore.isEmpty }
}
