/// A permission in a token's `scopes`, in addition to the permissions for flows. No scope implies another.
public enum Scope: String, Hashable, Sendable, CaseIterable {
    /// Acquire, renew and release locks.
    case locks
    /// Read and write mapping patterns.
    case patterns
    /// Create, read and delete imports.
    case imports
    /// Close streams of the token's account, and revoke all tokens of one of its subjects.
    case admin
}

/// The identity and permissions of the client that sent a request or opened a stream, from its verified token.
///
/// All copies share one object, so a stream and whatever else keeps the principal of its client keep a reference.
public struct Principal: Sendable {
    /// Maximum length of a `sub`, in bytes.
    public static let maximumSubjectLength = 256
    /// Maximum length of a `client_account_id`, in bytes.
    public static let maximumAccountLength = 128

    private let claims: Claims

    private final class Claims: Sendable {
        let account: String
        let subject: String
        let subscribe: [FlowPattern]
        let publish: [FlowPattern]
        let scopes: Set<Scope>
        let issuedAt: Int64
        let expiresAt: Int64?
        let isOpen: Bool

        init(
            account: String, subject: String, subscribe: [FlowPattern], publish: [FlowPattern], scopes: Set<Scope>,
            issuedAt: Int64, expiresAt: Int64?, isOpen: Bool
        ) {
            self.account = account
            self.subject = subject
            self.subscribe = subscribe
            self.publish = publish
            self.scopes = scopes
            self.issuedAt = issuedAt
            self.expiresAt = expiresAt
            self.isOpen = isOpen
        }
    }

    public init(
        account: String,
        subject: String,
        subscribe: [FlowPattern],
        publish: [FlowPattern],
        scopes: Set<Scope>,
        issuedAt: Int64,
        expiresAt: Int64?
    ) {
        self.claims = Claims(
            account: account, subject: subject, subscribe: subscribe, publish: publish, scopes: scopes, issuedAt: issuedAt,
            expiresAt: expiresAt, isOpen: false)
    }

    /// The principal of every client of a hub without keys: account `0`, empty subject, all permissions, no expiry.
    public static let open = Principal()

    private init() {
        self.claims = Claims(
            account: "0", subject: "", subscribe: [.all], publish: [.all], scopes: Set(Scope.allCases), issuedAt: 0,
            expiresAt: nil, isOpen: true)
    }

    /// The only account whose flows, locks, mapping patterns and imports the client may access.
    public var account: String { self.claims.account }
    /// The token's `sub`.
    public var subject: String { self.claims.subject }
    /// The flows that the client may read.
    public var subscribe: [FlowPattern] { self.claims.subscribe }
    /// The flows that the client may change or publish events to.
    public var publish: [FlowPattern] { self.claims.publish }
    public var scopes: Set<Scope> { self.claims.scopes }
    /// The token's `iat` in Unix seconds. It is 0 for a token without `iat`, so that every revocation of its subject applies.
    public var issuedAt: Int64 { self.claims.issuedAt }
    /// The token's `exp` in Unix seconds, without leeway; `nil` if the token does not expire.
    public var expiresAt: Int64? { self.claims.expiresAt }
    /// Whether this is ``open``: the hub has no keys, and every client has all permissions.
    public var isOpen: Bool { self.claims.isOpen }

    /// Whether a pattern in ``subscribe`` matches the flow. The caller checks the flow's account.
    public func maySubscribe(_ flow: FlowID) -> Bool {
        self.subscribe.contains { $0.matches(flow) }
    }

    /// Whether a pattern in ``publish`` matches the flow. The caller checks the flow's account.
    public func mayPublish(_ flow: FlowID) -> Bool {
        self.publish.contains { $0.matches(flow) }
    }

    /// Whether the client has this permission. No other scope implies it.
    public func has(_ scope: Scope) -> Bool {
        self.scopes.contains(scope)
    }

    /// Whether the client may read all flows of its account, so that lists need no filter by pattern.
    public var subscribesToAll: Bool {
        self.subscribe.contains(.all)
    }

    /// Whether the token is expired: `now` is on or after `exp` plus the leeway (RFC 7519, 4.1.4).
    /// - Parameters:
    ///   - now: Unix seconds.
    ///   - leeway: tolerated clock difference, in seconds.
    public func isExpired(now: Int64, leeway: Int64) -> Bool {
        guard let end = self.endsAt(leeway: leeway) else { return false }
        return now >= end
    }

    /// The Unix second from which on streams of this token must be closed: ``expiresAt`` plus the leeway in seconds.
    /// - Returns: `nil` if the token does not expire.
    public func endsAt(leeway: Int64) -> Int64? {
        guard let expiresAt = self.expiresAt else { return nil }
        let (end, overflow) = expiresAt.addingReportingOverflow(leeway)
        return overflow ? .max : end
    }

    /// Whether the text is a valid `sub`: 1 to 256 bytes without control characters, because it appears in logs and lists.
    public static func isValidSubject(_ text: String) -> Bool {
        guard !text.isEmpty, text.utf8.count <= Self.maximumSubjectLength else { return false }
        // The category includes U+0080 to U+009F, which terminals interpret as the start of control sequences.
        return !text.unicodeScalars.contains { $0.properties.generalCategory == .control }
    }

    /// Whether the text is a valid account: 1 to 128 bytes of ``Identifier`` characters, because it is part of keys and paths.
    public static func isValidAccount(_ text: String) -> Bool {
        Identifier.isValid(text.utf8, maximumLength: Self.maximumAccountLength)
    }
}

extension Principal: Equatable {
    public static func == (left: Principal, right: Principal) -> Bool {
        if left.claims === right.claims { return true }
        return left.account == right.account && left.subject == right.subject && left.subscribe == right.subscribe
            && left.publish == right.publish && left.scopes == right.scopes && left.issuedAt == right.issuedAt
            && left.expiresAt == right.expiresAt && left.isOpen == right.isOpen
    }
}
