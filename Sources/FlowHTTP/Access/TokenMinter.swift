public import FlowCore
import FoundationEssentials
import JWTKit

/// Creates HS256 tokens that ``TokenVerifier`` accepts, for development and tests (`flowhub token`).
public struct TokenMinter: Sendable {
    private let key: String

    /// - Parameter key: the HS256 secret.
    /// - Throws: ``AccessConfigurationError`` for a secret that ``TokenVerifier`` would reject.
    public init(key: String) throws(AccessConfigurationError) {
        try TokenKeys.validateSecret(key)
        self.key = key
    }

    /// Creates a signed token.
    /// - Parameters:
    ///   - ttlSeconds: seconds from `now` to `exp`. `nil`: a token without `exp`, which hubs reject unless configured
    ///     otherwise.
    ///   - audience: the claim `aud`; `nil`: a token without `aud`.
    ///   - issuer: the claim `iss`; `nil`: a token without `iss`.
    ///   - now: Unix time in seconds, for `iat` and `exp`.
    /// - Throws: ``AccessConfigurationError`` if the subject, the account or the lifetime is invalid.
    public func mint(
        subject: String,
        account: String,
        subscribe: [FlowPattern],
        publish: [FlowPattern],
        scopes: Set<Scope>,
        ttlSeconds: Int?,
        audience: String? = nil,
        issuer: String? = nil,
        now: Int64
    ) async throws(AccessConfigurationError) -> String {
        guard Principal.isValidSubject(subject) else {
            throw AccessConfigurationError(
                "subject", "the value is not a valid sub claim", remedy: "Use 1 to 256 bytes without control characters.")
        }
        guard Principal.isValidAccount(account) else {
            throw AccessConfigurationError(
                "account", "the value is not a valid client_account_id claim", remedy: "Use 1 to 128 of A-Za-z0-9_.:-")
        }
        guard (ttlSeconds ?? 1) > 0 else {
            throw AccessConfigurationError(
                "ttl", "the token would already be expired", remedy: "Use a lifetime of 1 second or more.")
        }
        let claims = MintedClaims(
            sub: subject,
            account: account,
            flows: .init(subscribe: subscribe.map(\.description), publish: publish.map(\.description)),
            scopes: scopes.map(\.rawValue).sorted(),
            iat: now,
            exp: ttlSeconds.map { now + Int64($0) },
            aud: audience,
            iss: issuer
        )
        do {
            return try await JWTKeyCollection().add(hmac: HMACKey(from: self.key), digestAlgorithm: .sha256).sign(claims)
        } catch {
            throw AccessConfigurationError(
                "token", "the token could not be signed", remedy: "This is a defect; please report it.")
        }
    }
}

/// The claims of a minted token.
private struct MintedClaims: JWTPayload {
    struct Flows: Codable {
        let subscribe: [String]
        let publish: [String]
    }

    enum CodingKeys: String, CodingKey {
        case sub
        case account = "client_account_id"
        case flows, scopes, iat, exp, aud, iss
    }

    let sub: String
    let account: String
    let flows: Flows
    let scopes: [String]
    let iat: Int64
    let exp: Int64?
    let aud: String?
    let iss: String?

    /// Required by jwt-kit, which calls it when it decodes a token. The hub does not decode tokens with jwt-kit.
    func verify(using algorithm: some JWTAlgorithm) async throws {}
}
