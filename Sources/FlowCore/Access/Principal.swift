/// A right beyond flows that a token may carry in its `scopes`. None implies another.
public enum Scope: String, Hashable, Sendable, CaseIterable {
    /// Take, renew and release locks.
    case locks
    /// Read and write mapping patterns.
    case patterns
    /// Create, read and delete imports.
    case imports
    /// Disconnect connections and revoke subjects of the own account.
    case admin
}

/// Who a request or a stream acts for, as a verified token says it.
public struct Principal: Sendable, Equatable {
    /// Bytes that a `sub` may have.
    public static let maximumSubjectLength = 256
    /// Bytes that a `client_account_id` may have.
    public static let maximumAccountLength = 128

    /// The account whose flows, locks, patterns and imports are seen; nothing of another account ever is.
    public let account: String
    /// The token's `sub`.
    public let subject: String
    public let subscribe: [FlowPattern]
    public let publish: [FlowPattern]
    public let scopes: Set<Scope>
    /// Unix seconds; 0 for a token without `iat`, so that every revocation of its subject meets it.
    public let issuedAt: Int64
    /// Unix seconds, without the leeway; `nil` if the token does not expire.
    public let expiresAt: Int64?
    /// Whether this is ``open``: the hub has no keys and everybody may do everything.
    public let isOpen: Bool

    public init(
        account: String,
        subject: String,
        subscribe: [FlowPattern],
        publish: [FlowPattern],
        scopes: Set<Scope>,
        issuedAt: Int64,
        expiresAt: Int64?
    ) {
        self.account = account
        self.subject = subject
        self.subscribe = subscribe
        self.publish = publish
        self.scopes = scopes
        self.issuedAt = issuedAt
        self.expiresAt = expiresAt
        self.isOpen = false
    }

    /// Everybody, where no key is configured: account `0`, no subject, every right, no end.
    public static let open = Principal()

    private init() {
        self.account = "0"
        self.subject = ""
        self.subscribe = [.all]
        self.publish = [.all]
        self.scopes = Set(Scope.allCases)
        self.issuedAt = 0
        self.expiresAt = nil
        self.isOpen = true
    }

    public func maySubscribe(_ flow: FlowID) -> Bool {
        self.subscribe.contains { $0.matches(flow) }
    }

    public func mayPublish(_ flow: FlowID) -> Bool {
        self.publish.contains { $0.matches(flow) }
    }

    public func has(_ scope: Scope) -> Bool {
        self.scopes.contains(scope)
    }

    /// Whether every flow of the account may be read, so that lists need no filter.
    public var subscribesToAll: Bool {
        self.subscribe.contains(.all)
    }

    /// Whether the token has ended at `now`, which is when `now` reaches `exp` plus the leeway (RFC 7519, 4.1.4: "on or after").
    public func isExpired(now: Int64, leeway: Int64) -> Bool {
        guard let end = self.endsAt(leeway: leeway) else { return false }
        return now >= end
    }

    /// The first unix second at which a stream of this token must be closed; `nil` if it need not be.
    public func endsAt(leeway: Int64) -> Int64? {
        guard let expiresAt = self.expiresAt else { return nil }
        let (end, overflow) = expiresAt.addingReportingOverflow(leeway)
        return overflow ? .max : end
    }

    /// Whether the text can be a `sub`: 1 to 256 bytes without control characters, since it goes into logs and lists.
    public static func isValidSubject(_ text: String) -> Bool {
        guard !text.isEmpty, text.utf8.count <= Self.maximumSubjectLength else { return false }
        // U+0080 to U+009F too: terminals take them for escape sequences.
        return !text.unicodeScalars.contains { $0.properties.generalCategory == .control }
    }

    /// Whether the text can be an account: 1 to 128 bytes of the ids' allow-list, since it goes into keys and paths.
    public static func isValidAccount(_ text: String) -> Bool {
        Identifier.isValid(text.utf8, maximumLength: Self.maximumAccountLength)
    }
}
