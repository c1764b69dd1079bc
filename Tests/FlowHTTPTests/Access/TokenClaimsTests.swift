import FlowCore
import FlowHTTP
import Testing

@Suite struct TokenClaimsTests {
    private static let now = TokenForge.now
    private let forge: TokenForge

    init() async throws { self.forge = try await .hmac() }

    private func verifier(_ change: (inout AccessConfiguration) -> Void = { _ in }) async throws -> TokenVerifier {
        var configuration = AccessConfiguration(hmacKey: TokenForge.secret)
        change(&configuration)
        return try await TokenVerifier(configuration)
    }

    private func token(_ changes: [String: String?] = [:]) throws -> String {
        try self.forge.token(claims: TokenForge.claims(changes))
    }

    @Test func readsAllClaims() async throws {
        let principal = try await self.verifier().verify(self.token(), now: Self.now)
        #expect(
            principal
                == Principal(
                    account: "7", subject: "ada", subscribe: [FlowPattern("import-*")].compactMap { $0 },
                    publish: [FlowPattern("import-1")].compactMap { $0 }, scopes: [.locks], issuedAt: Self.now,
                    expiresAt: Self.now + 600))
    }

    @Test func checksIssuerIfConfigured() async throws {
        let verifier = try await self.verifier { $0.issuer = "https://issuer.example" }
        for claim in [nil, #""https://other.example""#, #""https://issuer.example/""#, #"["https://issuer.example"]"#, "1"] {
            await expectRejected(
                try self.token(["iss": claim]), by: verifier,
                reason: "the claim iss is missing or does not name the hub's issuer")
        }
        _ = try await verifier.verify(self.token(["iss": #""https://issuer.example""#]), now: Self.now)
        _ = try await self.verifier().verify(self.token(["iss": #""https://other.example""#]), now: Self.now)
        await #expect(throws: AccessConfigurationError.self) { try await self.verifier { $0.issuer = "" } }
    }

    @Test func optionalClaimsMayBeMissing() async throws {
        let token = try self.token(["flows": nil, "scopes": nil, "iat": nil])
        let principal = try await self.verifier().verify(token, now: Self.now)
        #expect(principal.subscribe.isEmpty && principal.publish.isEmpty && principal.scopes.isEmpty && principal.issuedAt == 0)
    }

    @Test(arguments: [
        ("42", "42"), (#""42""#, "42"), ("0", "0"), ("9223372036854775807", "9223372036854775807"), (#""acme:eu""#, "acme:eu"),
    ])
    func acceptsAccountAsIntegerOrString(_ claim: String, _ account: String) async throws {
        let principal = try await self.verifier().verify(self.token(["client_account_id": claim]), now: Self.now)
        #expect(principal.account == account)
    }

    @Test(arguments: [nil, "null", "1.5", "1e3", "9223372036854775808", #""""#, #""..""#, #""a/b""#, #""a b""#, "[7]", "true"])
    func rejectsMissingOrInvalidAccount(_ claim: String?) async throws {
        await expectRejected(
            try self.token(["client_account_id": claim]), by: try await self.verifier(),
            reason: "the claim client_account_id is missing or invalid")
    }

    @Test(arguments: [nil, "null", "7", #""""#, #""a\nb""#, #""a\u0000""#, #"["ada"]"#, #"{"a":1}"#])
    func rejectsMissingOrInvalidSubject(_ claim: String?) async throws {
        await expectRejected(
            try self.token(["sub": claim]), by: try await self.verifier(),
            reason: "the claim sub is missing or not 1 to 256 bytes of text")
        let long = "\"" + String(repeating: "s", count: 257) + "\""
        await expectRejected(
            try self.token(["sub": long]), by: try await self.verifier(),
            reason: "the claim sub is missing or not 1 to 256 bytes of text")
    }

    @Test(arguments: ["exp", "nbf", "iat"])
    func rejectsInvalidTimeClaims(_ name: String) async throws {
        let verifier = try await self.verifier()
        for value in [
            "\"\(Self.now + 600)\"", "1e308", "9007199254740994", "-1", "-0.5", "null", "true", "[1]", "{}", "\"\"",
        ] {
            await expectRejected(
                try self.token([name: value]), by: verifier, reason: "the claim exp, nbf or iat is not a number from 0 to 2^53")
        }
        // A number beyond a double's range makes the claims invalid JSON for the hub.
        await expectRejected(
            try self.token([name: "1e309"]), by: verifier,
            reason: "the token payload is not a JSON object, or a member name occurs twice")
    }

    @Test func timeFractionsAreRoundedDown() async throws {
        let verifier = try await self.verifier()
        let token = try self.token(["exp": "\(Self.now + 10).9", "iat": "\(Self.now).9", "nbf": "1.7e9"])
        let principal = try await verifier.verify(token, now: Self.now)
        #expect(principal.expiresAt == Self.now + 10)
        #expect(principal.issuedAt == Self.now)
    }

    @Test(arguments: [(59, true), (60, false), (61, false), (10_000, false)] as [(Int64, Bool)])
    func acceptsExpiredTokenOnlyWithinLeeway(_ ago: Int64, _ isAccepted: Bool) async throws {
        let verifier = try await self.verifier()
        let token = try self.token(["exp": "\(Self.now - ago)"])
        let result = await Result { () async throws(AccessError) in try await verifier.verify(token, now: Self.now) }
        #expect(result.map(\.expiresAt) == (isAccepted ? .success(Self.now - ago) : .failure(.tokenExpired)))
    }

    @Test func zeroLeewayExpiresTokenAtExactSecond() async throws {
        let verifier = try await self.verifier { $0.leewaySeconds = 0 }
        let token = try self.token(["exp": "\(Self.now + 1)"])
        _ = try await verifier.verify(token, now: Self.now)
        await #expect(throws: AccessError.tokenExpired) { try await verifier.verify(token, now: Self.now + 1) }
    }

    @Test func expiredForgeryFailsWithWrongSignature() async throws {
        let forged = try await TokenForge.hmac("another secret, also longer than 32 bytes")
            .token(claims: TokenForge.claims(["exp": "1"]))
        await expectRejected(forged, by: try await self.verifier(), reason: "the token's signature is wrong")
    }

    @Test func tokenLivesForMaximumLifetimeAtMost() async throws {
        let limited = try await self.verifier {
            $0.requireExpiration = false
            $0.maximumLifetime = 100
        }
        let (iat, now) = (Self.now - 10, Self.now)
        let allowed = try self.token(["iat": "\(iat)", "exp": "\(iat + 100)"])
        #expect(try await limited.verify(allowed, now: now).expiresAt == iat + 100)
        let open = try self.token(["iat": "\(iat)", "exp": nil])
        #expect(try await limited.verify(open, now: now).expiresAt == iat + 100)
        for claims in [
            ["iat": "\(iat)", "exp": "\(iat + 101)"], ["iat": nil, "exp": "\(now + 101)"], ["iat": nil, "exp": nil],
        ] as [[String: String?]] {
            await #expect(throws: AccessError.self) { try await limited.verify(self.token(claims), now: now) }
        }
    }

    @Test func expirationIsRequiredUnlessConfiguredOtherwise() async throws {
        let token = try self.token(["exp": nil])
        await expectRejected(token, by: try await self.verifier(), reason: "the claim exp is missing")
        let lenient = try await self.verifier {
            $0.requireExpiration = false
            $0.maximumLifetime = 0
        }
        #expect(try await lenient.verify(token, now: Self.now).expiresAt == nil)
        await #expect(throws: AccessError.tokenExpired) { try await lenient.verify(self.token(["exp": "1"]), now: Self.now) }
    }

    @Test(arguments: ["nbf", "iat"])
    func rejectsFutureTimesBeyondLeeway(_ name: String) async throws {
        let verifier = try await self.verifier()
        await expectRejected(
            try self.token([name: "\(Self.now + 61)"]), by: verifier, reason: "the claim \(name) is in the future")
        _ = try await verifier.verify(self.token([name: "\(Self.now + 60)"]), now: Self.now)
    }

    @Test(
        arguments: [
            (#""flowhub""#, nil), (#"["other","flowhub"]"#, nil), (nil, "the claim aud is missing"),
            (#""other""#, "the claim aud does not name this hub"),
            (#""FlowHub""#, "the claim aud does not name this hub"), (#""flowhub ""#, "the claim aud does not name this hub"),
            ("[]", "the claim aud does not name this hub"),
            (#"[["flowhub"]]"#, "the claim aud is not a string or an array of strings"),
            (#"["flowhub",1]"#, "the claim aud is not a string or an array of strings"),
            ("null", "the claim aud is not a string or an array of strings"),
            (#"{"a":"flowhub"}"#, "the claim aud is not a string or an array of strings"),
        ] as [(String?, String?)])
    func acceptsOnlyConfiguredAudience(_ claim: String?, _ rejection: String?) async throws {
        let verifier = try await self.verifier { $0.audience = "flowhub" }
        let token = try self.token(["aud": claim])
        if let rejection {
            await expectRejected(token, by: verifier, reason: rejection)
        } else {
            _ = try await verifier.verify(token, now: Self.now)
        }
    }

    @Test func ignoresAudienceUnlessConfigured() async throws {
        _ = try await self.verifier().verify(self.token(["aud": #""other""#]), now: Self.now)
    }

    @Test(arguments: [
        (#"{"subscribe":["a/b"]}"#, "the claim flows has an invalid flow pattern"),
        (#"{"publish":["*a"]}"#, "the claim flows has an invalid flow pattern"),
        (#"{"subscribe":["a",""]}"#, "the claim flows has an invalid flow pattern"),
        (#"{"subscribe":[1]}"#, "the claim flows has an invalid flow pattern"),
        (#"{"subscribe":[["*"]]}"#, "the claim flows has an invalid flow pattern"),
        (#"{"subscribe":"*"}"#, "the claim flows.subscribe or flows.publish is not an array"),
        (#"{"publish":null}"#, "the claim flows.subscribe or flows.publish is not an array"),
        (#"["*"]"#, "the claim flows is not a JSON object, or a member name occurs twice"),
        (#"{"subscribe":[],"subscribe":["*"]}"#, "the claim flows is not a JSON object, or a member name occurs twice"),
        ("null", "the claim flows is not a JSON object, or a member name occurs twice"),
    ])
    func rejectsInvalidFlowsClaim(_ flows: String, _ reason: String) async throws {
        await expectRejected(try self.token(["flows": flows]), by: try await self.verifier(), reason: reason)
    }

    @Test func readsKnownScopesAndRejectsInvalidScopesClaim() async throws {
        let verifier = try await self.verifier()
        let token = try self.token(["scopes": #"["admin","imports","openid","Locks"]"#])
        #expect(try await verifier.verify(token, now: Self.now).scopes == [.admin, .imports])
        try await verifier.reload()
        await expectRejected(try self.token(["scopes": #""admin""#]), by: verifier, reason: "the claim scopes is not an array")
        await expectRejected(
            try self.token(["scopes": "[1]"]), by: verifier, reason: "the claim scopes has an element that is not a string")
    }

    @Test(arguments: [#""sub":"eve""#, #""exp":9999999999"#, #""client_account_id":8"#, #""\u0073ub":"eve""#, #""flows":{}"#])
    func rejectsRepeatedClaims(_ more: String) async throws {
        let claims = TokenForge.claims().dropLast() + "," + more + "}"
        await expectRejected(
            try self.forge.token(claims: String(claims)), by: try await self.verifier(),
            reason: "the token payload is not a JSON object, or a member name occurs twice")
    }

    @Test(arguments: ["[]", "null", "\"x\"", "{", "x"])
    func rejectsClaimsThatAreNotJSONObject(_ claims: String) async throws {
        await expectRejected(
            try self.forge.token(claims: claims), by: try await self.verifier(),
            reason: "the token payload is not a JSON object, or a member name occurs twice")
    }
}

extension Result where Failure == AccessError {
    /// The outcome of `body` as a value that can be compared.
    fileprivate init(_ body: () async throws(AccessError) -> Success) async {
        do throws(AccessError) {
            self = .success(try await body())
        } catch {
            self = .failure(error)
        }
    }
}
