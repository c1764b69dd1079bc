import FlowCore

/// Checks of a token's claims, and the principal that they describe.
struct TokenRules: Sendable {
    /// The value that `aud` must contain. `nil`: `aud` is not checked.
    let audience: String?
    /// The value that `iss` must have. `nil`: `iss` is not checked.
    var issuer: String?
    /// Whether a token without `exp` is rejected.
    let requireExpiration: Bool
    /// Tolerated clock difference in seconds.
    let leeway: Int64
    /// Maximum seconds from `iat` to `exp`; 0: no limit.
    var maximumLifetime: Int64 = 0

    /// The principal of a token whose signature was verified.
    ///
    /// - Parameters:
    ///   - payload: the claims as JSON.
    ///   - now: Unix time in seconds.
    /// - Throws: ``AccessError`` `token_expired` if expiry is the only problem, else `token_invalid`.
    func principal(of payload: [UInt8], now: Int64) throws(AccessError) -> Principal {
        guard let claims = TokenObject(payload) else {
            throw .tokenInvalid(
                "the token payload is not a JSON object, or a member name occurs twice",
                remedy: "Issue tokens with a JWT library.")
        }
        let issuedAt = try Self.time("iat", of: claims)
        let notBefore = try Self.time("nbf", of: claims)
        let expiresAt = try Self.time("exp", of: claims)
        if expiresAt == nil, self.requireExpiration {
            throw .tokenInvalid(
                "the claim exp is missing", claim: "exp", seen: "none",
                remedy: "Issue tokens with exp, or set FLOWHUB_JWT_REQUIRE_EXP=false.")
        }
        if let notBefore, notBefore > now + self.leeway {
            throw .tokenInvalid(
                "the claim nbf is in the future", claim: "nbf", seen: Self.times(notBefore, now), remedy: Self.clockRemedy)
        }
        if let issuedAt, issuedAt > now + self.leeway {
            throw .tokenInvalid(
                "the claim iat is in the future", claim: "iat", seen: Self.times(issuedAt, now), remedy: Self.clockRemedy)
        }
        let end = try self.end(issuedAt: issuedAt, expiresAt: expiresAt, now: now)
        try self.checkAudience(of: claims)
        try self.checkIssuer(of: claims)
        let flows = try Self.flows(of: claims)
        let principal = Principal(
            account: try Self.account(of: claims),
            subject: try Self.subject(of: claims),
            subscribe: try Self.patterns("subscribe", of: flows),
            publish: try Self.patterns("publish", of: flows),
            scopes: try Self.scopes(of: claims),
            issuedAt: issuedAt ?? 0,
            expiresAt: end
        )
        // Expiry is checked last, so that `token_expired` is only sent for a token that was valid before.
        if principal.isExpired(now: now, leeway: self.leeway) {
            throw .tokenExpired(seen: end.map { Self.times($0, now) })
        }
        return principal
    }

    private static let clockRemedy = "Wait until then, or synchronize the clocks of the hub and the token issuer by NTP."

    /// A time in a claim, and that of the hub's clock.
    private static func times(_ seconds: Int64, _ now: Int64) -> String { "\(seconds), and the hub's clock has \(now)" }

    /// The end of a token's life: its `exp`, or with a limit of the lifetime at the latest when the limit is reached.
    ///
    /// A revocation is deleted after that limit, so no token may be accepted for longer. A token without `iat` has no known
    /// age: its `exp` must be within the limit from now on, so an issuer whose tokens live longer sees them rejected when they
    /// are new.
    /// - Returns: `nil` if the token does not expire.
    private func end(issuedAt: Int64?, expiresAt: Int64?, now: Int64) throws(AccessError) -> Int64? {
        guard self.maximumLifetime > 0 else { return expiresAt }
        guard let expiresAt else {
            guard let issuedAt else {
                throw .tokenInvalid(
                    "the token has neither exp nor iat, so its lifetime is unlimited", claim: "exp", seen: "none",
                    remedy: "Issue tokens with exp.")
            }
            return issuedAt + self.maximumLifetime
        }
        guard expiresAt - (issuedAt ?? now) <= self.maximumLifetime else {
            throw .tokenInvalid(
                "the token's lifetime exceeds FLOWHUB_JWT_MAX_SECONDS", claim: "exp",
                seen: "\(expiresAt), \(expiresAt - (issuedAt ?? now)) s after \(issuedAt == nil ? "now" : "iat")",
                remedy: "Issue tokens for \(self.maximumLifetime) s at most, or raise FLOWHUB_JWT_MAX_SECONDS.")
        }
        return expiresAt
    }

    /// The values that can only be milliseconds since 1970: in seconds they are later than the year 9999, and in milliseconds they
    /// are not (but later than 1978).
    private static let milliseconds = 253_402_300_800.0..<253_402_300_800_000.0

    /// The `NumericDate` in a claim (RFC 7519, 2), rounded down to seconds. Values above 2^53 are rejected, because a
    /// double cannot represent every second there; so are milliseconds, which many issuers send by mistake.
    /// - Returns: `nil` if the claim is missing.
    private static func time(_ name: String, of claims: TokenObject) throws(AccessError) -> Int64? {
        guard let value = claims[name] else { return nil }
        guard let number = value.doubleValue, (0...9_007_199_254_740_992).contains(number) else {
            throw .tokenInvalid(
                "the claim exp, nbf or iat is not a number from 0 to 2^53", claim: name, seen: value.string,
                remedy: "Issue tokens whose times are numbers of seconds since 1970 (RFC 7519, 2).")
        }
        guard !Self.milliseconds.contains(number) else {
            throw .tokenInvalid(
                "the claim exp, nbf or iat is in milliseconds, not in seconds", claim: name, seen: value.string,
                remedy: "Divide it by 1000: exp, nbf and iat are seconds since 1970 (RFC 7519, 2).")
        }
        return Int64(number.rounded(.down))
    }

    /// Checks that `aud`, a string or an array of strings (RFC 7519, 4.1.3), contains the configured audience.
    private func checkAudience(of claims: TokenObject) throws(AccessError) {
        guard let wanted = self.audience else { return }
        guard let claim = claims["aud"] else {
            throw .tokenInvalid(
                "the claim aud is missing", claim: "aud", seen: "none",
                remedy: "Issue tokens with aud: the value of FLOWHUB_JWT_AUDIENCE.")
        }
        var found = false
        for value in claim.isArray ? claim.elements : [claim] {
            guard let text = value.stringValue else {
                throw .tokenInvalid(
                    "the claim aud is not a string or an array of strings", claim: "aud", seen: claim.string,
                    remedy: "Issue tokens whose aud is a string or an array of strings.")
            }
            // Compared by bytes (RFC 7519, 2): Swift's == also accepts canonically equivalent strings.
            if text.utf8.elementsEqual(wanted.utf8) { found = true }
        }
        guard found else {
            throw .tokenInvalid(
                "the claim aud does not name this hub", claim: "aud", seen: claim.string,
                remedy: "Issue tokens for the audience \(wanted), or correct FLOWHUB_JWT_AUDIENCE.")
        }
    }

    /// Checks that `iss` (RFC 7519, 4.1.1) is the configured issuer, byte for byte.
    private func checkIssuer(of claims: TokenObject) throws(AccessError) {
        guard let wanted = self.issuer else { return }
        guard let issuer = claims.string("iss"), issuer.utf8.elementsEqual(wanted.utf8) else {
            throw .tokenInvalid(
                "the claim iss is missing or does not name the hub's issuer", claim: "iss", seen: claims["iss"]?.string ?? "none",
                remedy: "Issue tokens with the iss \(wanted), or correct FLOWHUB_JWT_ISSUER.")
        }
    }

    /// The claim `sub`, which is required.
    private static func subject(of claims: TokenObject) throws(AccessError) -> String {
        guard let subject = claims.string("sub"), Principal.isValidSubject(subject) else {
            // Who it is concerns nobody who reads a log.
            throw .tokenInvalid(
                "the claim sub is missing or not 1 to 256 bytes of text", claim: "sub", seen: claims.has("sub") ? nil : "none",
                remedy: "Issue tokens whose sub is a string of 1 to 256 bytes without control characters.")
        }
        return subject
    }

    /// The claim `client_account_id`, which is required. It may be an integer or a string, because FlowHub's predecessor,
    /// the legacy service, stores integers in its tables and sends strings.
    private static func account(of claims: TokenObject) throws(AccessError) -> String {
        guard let claim = claims["client_account_id"],
            let account = claim.stringValue ?? claim.intValue.map({ String($0) }),
            Principal.isValidAccount(account)
        else {
            throw .tokenInvalid(
                "the claim client_account_id is missing or invalid", claim: "client_account_id",
                seen: claims["client_account_id"]?.string ?? "none",
                remedy: "Issue tokens with client_account_id: an integer, or 1 to 128 of A-Za-z0-9_.:-")
        }
        return account
    }

    /// The claim `flows`; `nil` if it is missing.
    private static func flows(of claims: TokenObject) throws(AccessError) -> TokenObject? {
        guard let claim = claims["flows"] else { return nil }
        guard let flows = TokenObject(claim) else {
            throw .tokenInvalid(
                "the claim flows is not a JSON object, or a member name occurs twice", claim: "flows", seen: claim.string,
                remedy: #"Issue tokens with flows: {"subscribe":[…],"publish":[…]}."#)
        }
        return flows
    }

    /// The flow patterns in the member `subscribe` or `publish` of the claim `flows`; empty if it is missing.
    private static func patterns(_ name: String, of flows: TokenObject?) throws(AccessError) -> [FlowPattern] {
        guard let flows, flows.has(name) else { return [] }
        guard let elements = flows.array(name) else {
            throw .tokenInvalid(
                "the claim flows.subscribe or flows.publish is not an array", claim: "flows.\(name)", seen: flows[name]?.string,
                remedy: #"Issue tokens with an array of flow patterns, such as ["import-*"]."#)
        }
        var patterns: [FlowPattern] = []
        for element in elements {
            guard let text = element.stringValue, let pattern = FlowPattern(text) else {
                throw .tokenInvalid(
                    "the claim flows has an invalid flow pattern", claim: "flows.\(name)", seen: element.string,
                    remedy: "A flow pattern is a flow id, or a prefix followed by *.")
            }
            patterns.append(pattern)
        }
        return patterns
    }

    /// The scopes in the claim `scopes`. Unknown scopes are ignored: they are for other services that accept the same
    /// tokens.
    private static func scopes(of claims: TokenObject) throws(AccessError) -> Set<Scope> {
        guard claims.has("scopes") else { return [] }
        guard let elements = claims.array("scopes") else {
            throw .tokenInvalid(
                "the claim scopes is not an array", claim: "scopes", seen: claims["scopes"]?.string,
                remedy: #"Issue tokens with an array of scopes, such as ["locks"]."#)
        }
        var scopes: Set<Scope> = []
        for element in elements {
            guard let text = element.stringValue else {
                throw .tokenInvalid(
                    "the claim scopes has an element that is not a string", claim: "scopes", seen: element.string,
                    remedy: #"Issue tokens with an array of scopes, such as ["locks"]."#)
            }
            if let scope = Scope(rawValue: text) { scopes.insert(scope) }
        }
        return scopes
    }
}
