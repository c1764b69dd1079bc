import FlowCore
import FlowHTTP
import Testing

@Suite struct TokenMinterTests {
    private static let now = TokenForge.now

    @Test func verifierAcceptsMintedToken() async throws {
        let minter = try TokenMinter(key: TokenForge.secret)
        let verifier = try await TokenVerifier(AccessConfiguration(hmacKey: TokenForge.secret, audience: "flowhub"))
        let pattern = try #require(FlowPattern("import-*"))
        let token = try await minter.mint(
            subject: "ada/\"ä\"", account: "7", subscribe: [.all], publish: [pattern], scopes: [.admin, .locks], ttlSeconds: 60,
            audience: "flowhub", now: Self.now)
        let expected = Principal(
            account: "7", subject: "ada/\"ä\"", subscribe: [.all], publish: [pattern], scopes: [.admin, .locks],
            issuedAt: Self.now, expiresAt: Self.now + 60)
        #expect(try await verifier.verify(token, now: Self.now) == expected)
    }

    @Test func tokenWithoutTTLHasNoExpiration() async throws {
        let token = try await TokenMinter(key: TokenForge.secret).mint(
            subject: "ada", account: "7", subscribe: [], publish: [], scopes: [], ttlSeconds: nil, now: Self.now)
        let verifier = try await TokenVerifier(
            AccessConfiguration(hmacKey: TokenForge.secret, requireExpiration: false, maximumLifetime: 0))
        #expect(try await verifier.verify(token, now: Self.now).expiresAt == nil)
    }

    @Test func rejectsInvalidKeyAndClaims() async throws {
        #expect(throws: AccessConfigurationError.self) { try TokenMinter(key: "short") }
        let minter = try TokenMinter(key: TokenForge.secret)
        for (subject, account, ttl) in [("", "7", 1), ("a\n", "7", 1), ("ada", "a/b", 1), ("ada", "7", 0), ("ada", "7", -1)] {
            await #expect(throws: AccessConfigurationError.self) {
                try await minter.mint(
                    subject: subject, account: account, subscribe: [], publish: [], scopes: [], ttlSeconds: ttl, now: Self.now)
            }
        }
    }
}

@Suite struct AccessErrorTests {
    @Test func errorsHaveCodeStatusAndChallenge() {
        let errors: [(AccessError, String, Int)] = [
            (.tokenMissing, "token_missing", 401), (.tokenExpired, "token_expired", 401), (.tokenRevoked, "token_revoked", 401),
            (.forbidden(need: "the scope locks"), "forbidden", 403), (.originForbidden, "origin_forbidden", 403),
        ]
        for (error, code, status) in errors {
            #expect(error.code == code && error.status == status && error.description == code)
            #expect((error.challenge != nil) == (status == 401))
        }
        #expect(
            AccessError.forbidden(need: "the scope locks").message == "The token lacks the scope locks.")
    }
}
