/// The revocation of all tokens of a subject that were issued before a given time.
public struct Revocation: Sendable, Hashable {
    public let account: String
    public let subject: String
    /// Unix seconds. Tokens issued in this second or later are valid.
    public let notBefore: Int64

    public init(account: String, subject: String, notBefore: Int64) {
        self.account = account
        self.subject = subject
        self.notBefore = notBefore
    }
}

/// The revocations that an instance has read. A value type, replaced as a whole when the store is read again.
///
/// It has one entry per subject. Of two revocations the one with the later ``Revocation/notBefore`` counts, in whichever
/// order they are inserted.
public struct RevocationList: Sendable, Equatable {
    /// A subject of an account.
    private struct SubjectKey: Hashable {
        let account: String
        let subject: String
    }

    /// ``Revocation/notBefore`` of each subject.
    private var notBefore: [SubjectKey: Int64] = [:]

    public init() {}

    public init(_ revocations: some Sequence<Revocation>) {
        for revocation in revocations {
            self.insert(revocation)
        }
    }

    /// Inserts a revocation.
    /// - Returns: whether the list changed; `false` if it has a revocation of this subject with the same or a later time.
    @discardableResult
    public mutating func insert(_ revocation: Revocation) -> Bool {
        let key = SubjectKey(account: revocation.account, subject: revocation.subject)
        if let known = self.notBefore[key], known >= revocation.notBefore { return false }
        self.notBefore[key] = revocation.notBefore
        return true
    }

    /// Removes the revocations with a ``Revocation/notBefore`` below the given one: no token that they revoke is accepted any
    /// more.
    public mutating func removeAll(below notBefore: Int64) {
        guard self.notBefore.contains(where: { $0.value < notBefore }) else { return }
        self.notBefore = self.notBefore.filter { $0.value >= notBefore }
    }

    /// Whether the principal's token was issued before the time of its subject's revocation. Always `false` for
    /// ``Principal/open``, which has no token.
    public func isRevoked(_ principal: Principal) -> Bool {
        guard !principal.isOpen, !self.notBefore.isEmpty,
            let notBefore = self.notBefore[SubjectKey(account: principal.account, subject: principal.subject)]
        else { return false }
        return principal.issuedAt < notBefore
    }

    /// Number of subjects that have a revocation.
    public var count: Int { self.notBefore.count }
    public var isEmpty: Bool { self.notBefore.isEmpty }
}
