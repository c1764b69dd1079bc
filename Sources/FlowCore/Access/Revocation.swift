/// The revocation of all tokens of a subject, or of all subjects of an account, that were issued before a given time.
public struct Revocation: Sendable, Hashable {
    public let account: String
    /// ``allSubjects``: every subject of the account.
    public let subject: String
    /// Unix seconds. Tokens issued in this second or later are valid.
    public let notBefore: Int64

    /// The ``subject`` of the revocation of all subjects of an account. No token can have it: subjects are not empty.
    public static let allSubjects = ""
    /// Maximum number of revocations of single subjects that a store deletes when it stores one of all subjects that covers
    /// them.
    package static let absorbedAtOnce = 10_000

    public init(account: String, subject: String, notBefore: Int64) {
        self.account = account
        self.subject = subject
        self.notBefore = notBefore
    }
}

/// The revocations that an instance has read. A value type.
///
/// It has one entry per subject, and one for all subjects of an account. Of two revocations the one with the later ``Revocation/notBefore`` counts, in whichever
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

    /// Whether the principal's token was issued before the time of its subject's revocation, or of its account's. Always `false`
    /// for ``Principal/open``, which has no token.
    public func isRevoked(_ principal: Principal) -> Bool {
        guard !principal.isOpen, !self.notBefore.isEmpty else { return false }
        return [principal.subject, Revocation.allSubjects].contains { subject in
            let notBefore = self.notBefore[SubjectKey(account: principal.account, subject: subject)]
            return notBefore.map { principal.issuedAt < $0 } ?? false
        }
    }

    /// Number of revocations.
    public var count: Int { self.notBefore.count }
    public var isEmpty: Bool { self.notBefore.isEmpty }
}
