/// The rejection of a request or a stream for lack of access. The client receives ``code`` and ``message``. The rest is for the
/// hub's log and for `flowhub token check`.
///
/// No part of the error is secret: ``seen`` is the value of one claim, of one parameter of the token's header, or of one header
/// field of the request. Never the token, its signature, a key or the subject.
///
/// Two errors are equal if the client receives the same and the same check failed.
public struct AccessError: Error, Sendable, Equatable, CustomStringConvertible {
    /// The stable `code` of the problem document (RFC 9457).
    public enum Code: String, Sendable, CaseIterable {
        /// The request has no token.
        case tokenMissing = "token_missing"
        /// The token failed a check other than those of expiry and revocation.
        case tokenInvalid = "token_invalid"
        /// The token was valid, and its `exp` has passed.
        case tokenExpired = "token_expired"
        /// The token was issued before the revocation of its subject.
        case tokenRevoked = "token_revoked"
        /// The token is valid and does not grant what the request needs.
        case forbidden
        /// A request that modifies data uses the cookie and has no allowed `Origin`, or a page of another origin that is not
        /// listed sent a request to a hub without keys.
        case originForbidden = "origin_forbidden"
    }

    public let kind: Code
    /// What the client can do about the error. The text is the same for every invalid token: naming the failed check would
    /// only help a forger.
    public let message: String
    /// The check that failed. It is never sent to the client.
    public let reason: String
    /// The claim, header parameter or header field that the check concerns; `nil`: the token as a whole.
    public let claim: String?
    /// What ``claim`` contains, at most ``maximumSeenLength`` characters; `nil` if that does not help, or is nobody's business.
    public let seen: String?
    /// What to do about it, for whoever issues the tokens or runs the hub.
    public let remedy: String

    /// Maximum length of ``seen`` in characters. A token that is in the wrong place is cut before its signature.
    static let maximumSeenLength = 80

    private init(
        _ kind: Code, message: String, reason: String, claim: String? = nil, seen: String? = nil, remedy: String? = nil
    ) {
        self.kind = kind
        self.message = message
        self.reason = reason
        self.claim = claim
        self.seen = seen.map { String($0.prefix(Self.maximumSeenLength)) }
        self.remedy = remedy ?? message
    }

    public static func == (left: AccessError, right: AccessError) -> Bool {
        left.kind == right.kind && left.message == right.message && left.reason == right.reason
    }

    /// The problem's `code` on the wire.
    public var code: String { self.kind.rawValue }

    /// The HTTP status: 401 if another token could help, else 403.
    public var status: Int {
        switch self.kind {
        case .tokenMissing, .tokenInvalid, .tokenExpired, .tokenRevoked: 401
        case .forbidden, .originForbidden: 403
        }
    }

    /// The value of `WWW-Authenticate` (RFC 6750, 3), which a 401 must have; `nil` for a 403.
    public var challenge: String? {
        switch self.kind {
        case .tokenMissing: "Bearer realm=\"flowhub\""
        case .tokenInvalid, .tokenExpired, .tokenRevoked: "Bearer realm=\"flowhub\", error=\"invalid_token\""
        case .forbidden, .originForbidden: nil
        }
    }

    public var description: String { self.code }
}

extension AccessError {
    public static let tokenMissing = AccessError(
        .tokenMissing,
        message: "The request has no token. Send it as Authorization: Bearer <token>, as the cookie flowhub_token, or as "
            + "?access_token= (for an EventSource, which can set no header).",
        reason: "no token in the request"
    )

    public static let tokenExpired = AccessError.tokenExpired(seen: nil)

    /// - Parameter seen: the time of expiry, and the time of the hub's clock.
    static func tokenExpired(seen: String?) -> AccessError {
        AccessError(
            .tokenExpired,
            message: "The token has expired. Request a new one from your token issuer.",
            reason: "exp has passed",
            claim: "exp",
            seen: seen
        )
    }

    public static let tokenRevoked = AccessError(
        .tokenRevoked,
        message: "The tokens of this subject were revoked. Sign in again to get a new one.",
        reason: "issued before the subject's revocation",
        claim: "iat"
    )

    public static let originForbidden = AccessError.originForbidden(seen: nil)

    /// - Parameter seen: the request's `Origin`; `nil` if it has none.
    static func originForbidden(seen: String?) -> AccessError {
        AccessError(
            .originForbidden,
            message:
                "A request that modifies data with the cookie flowhub_token needs an allowed Origin. Add the page's origin to "
                + "FLOWHUB_CORS_ORIGINS, or send the token in the Authorization header.",
            reason: "a request that modifies data uses the cookie and has no allowed Origin",
            claim: "Origin",
            seen: seen ?? "none"
        )
    }

    public static let originForbiddenWithoutKeys = AccessError(
        .originForbidden,
        message: "A web page of another origin sent the request. Without keys the hub answers only pages that are listed, and no "
            + "page for operations. Add the page's origin to FLOWHUB_CORS_ORIGINS, or set FLOWHUB_JWT_KEY or FLOWHUB_JWKS.",
        reason: "the hub has no keys, and Origin is neither listed nor the hub's own",
        claim: "Origin"
    )

    /// The token's claims do not grant what the request needs. A new token with the same claims would not either.
    ///
    /// - Parameters:
    ///   - need: what the token lacks: "the scope locks", "permission to publish to this flow (flows.publish)".
    ///   - claim: the claim that would grant it.
    ///   - seen: what the request is about.
    public static func forbidden(need: String, claim: String? = nil, seen: String? = nil) -> AccessError {
        AccessError(
            .forbidden, message: "The token lacks \(need).", reason: "the claims do not grant \(need)", claim: claim, seen: seen,
            remedy: "Issue a token that grants \(need).")
    }

    /// The rejection of a token that failed a check.
    /// - Parameters:
    ///   - reason: the check that failed. Nothing of it is sent to the client.
    ///   - claim: the claim, or the parameter of the token's header, that the check concerns.
    ///   - seen: what it contains.
    ///   - remedy: what to do about it.
    static func tokenInvalid(
        _ reason: StaticString, claim: String? = nil, seen: String? = nil, remedy: String
    ) -> AccessError {
        AccessError(
            .tokenInvalid,
            message:
                "The token is not valid for this hub. Request a new one from your token issuer. `flowhub token check` says what "
                + "is wrong with it, as does the hub's log at level debug.",
            reason: "\(reason)",
            claim: claim,
            seen: seen,
            remedy: remedy
        )
    }
}
