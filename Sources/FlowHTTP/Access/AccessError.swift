/// Why a request or a stream is refused. What the caller is told is ``code`` and ``message``; ``reason`` is for a debug log.
///
/// Nothing in it comes from the token or from a key, so it can be logged as it is.
public struct AccessError: Error, Sendable, Equatable, CustomStringConvertible {
    /// The stable `code` of the problem document (RFC 9457).
    public enum Code: String, Sendable, CaseIterable {
        case tokenMissing = "token_missing"
        case tokenInvalid = "token_invalid"
        case tokenExpired = "token_expired"
        case tokenRevoked = "token_revoked"
        case forbidden
        case originForbidden = "origin_forbidden"
    }

    public let kind: Code
    /// What the caller can do about it; the same for every invalid token, since telling forgers what failed helps only them.
    public let message: String
    /// What failed, in the words of this source; never shown to the caller.
    public let reason: String

    private init(_ kind: Code, message: String, reason: String) {
        self.kind = kind
        self.message = message
        self.reason = reason
    }

    public var code: String { self.kind.rawValue }

    /// The HTTP status: 401 where a better token would help, 403 where it would not.
    public var status: Int {
        switch self.kind {
        case .tokenMissing, .tokenInvalid, .tokenExpired, .tokenRevoked: 401
        case .forbidden, .originForbidden: 403
        }
    }

    /// The value of `WWW-Authenticate` (RFC 6750, 3), which a 401 must carry; `nil` for a 403.
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
        message: "Send a token: Authorization: Bearer <token>, the cookie flowhub_token, or ?access_token= where an "
            + "EventSource can send neither.",
        reason: "no token in the request"
    )

    public static let tokenExpired = AccessError(
        .tokenExpired,
        message: "The token has expired. Get a new one and try again.",
        reason: "exp has passed"
    )

    public static let tokenRevoked = AccessError(
        .tokenRevoked,
        message: "The tokens of this subject were revoked. Sign in again to get a new one.",
        reason: "issued before the subject's revocation"
    )

    public static let originForbidden = AccessError(
        .originForbidden,
        message: "A change by cookie needs an allowed Origin. Add the page's origin to FLOWHUB_CORS_ORIGINS or send the token "
            + "in the Authorization header.",
        reason: "cookie write without an allowed Origin"
    )

    /// The token does not allow it, and no fresh token with the same claims would.
    ///
    /// - Parameter need: what is needed, in words for the caller ("the scope locks", "this flow under flows.publish").
    public static func forbidden(need: String) -> AccessError {
        AccessError(.forbidden, message: "The token does not allow this: it needs \(need).", reason: "not allowed by the claims")
    }

    static func tokenInvalid(_ reason: StaticString) -> AccessError {
        AccessError(
            .tokenInvalid,
            message: "The token is not valid for this hub. Get a new one from whoever issues tokens for it.",
            reason: "\(reason)"
        )
    }
}
