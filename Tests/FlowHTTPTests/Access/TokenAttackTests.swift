import FlowCore
import FlowHTTP
import Testing

/// The attacks of RFC 8725 on the header, the parts and the choice of the key. ``TokenClaimsTests`` covers claims.
@Suite struct TokenAttackTests {
    private let forge: TokenForge
    private let verifier: TokenVerifier

    init() async throws {
        self.forge = try await .hmac()
        self.verifier = try await TokenVerifier(AccessConfiguration(hmacKey: TokenForge.secret))
    }

    @Test func acceptsValidToken() async throws {
        let principal = try await self.verifier.verify(self.forge.token(), now: TokenForge.now)
        #expect(principal.account == "7" && principal.subject == "ada")
    }

    @Test(arguments: ["none", "None", "nONE", "NONE", "", "HS256 ", "hs256", "HS384", "HS512", "PS256", "ES512", "RS256\\u0000"])
    func rejectsUnsupportedAlgorithm(_ name: String) async throws {
        let token = try self.forge.token(header: #"{"alg":"\#(name)"}"#)
        await expectRejected(
            token, by: self.verifier, reason: "alg in the token header is not one of HS256, RS256, ES256, EdDSA")
    }

    @Test(arguments: [#"{"typ":"JWT"}"#, #"{"alg":null}"#, #"{"alg":["HS256"]}"#, #"{"alg":256}"#])
    func rejectsMissingOrInvalidAlgorithm(_ header: String) async throws {
        let token = try self.forge.token(header: header)
        await expectRejected(
            token, by: self.verifier, reason: "alg in the token header is not one of HS256, RS256, ES256, EdDSA")
    }

    @Test(arguments: ["RS256", "ES256", "EdDSA"])
    func rejectsAlgorithmWithoutKey(_ name: String) async throws {
        let token = try self.forge.token(header: #"{"alg":"\#(name)"}"#)
        await expectRejected(token, by: self.verifier, reason: "the hub has no key for the token's alg")
    }

    @Test func rejectsMissingOrEmptyParts() async throws {
        let token = try self.forge.token()
        let parts = token.split(separator: ".").map(String.init)
        let broken = [
            "", ".", "..", "...", parts[0], parts[0] + "." + parts[1], parts[0] + "." + parts[1] + ".",
            "." + parts[1] + "." + parts[2], parts[0] + ".." + parts[2], token + ".", token + "." + parts[2], "." + token,
        ]
        for text in broken {
            await expectRejected(text, by: self.verifier, reason: "the token does not have three non-empty parts")
        }
    }

    @Test func rejectsPartsThatAreNotBase64URL() async throws {
        let token = try self.forge.token()
        for text in [token + "=", token + "==", token + " ", token + "\n", " " + token, token + "+", token + "/", token + "é"] {
            await expectRejected(text, by: self.verifier, reason: "a part of the token is not base64url")
        }
    }

    @Test func rejectsChangedPartsAndSignatures() async throws {
        let token = try self.forge.token()
        let parts = token.split(separator: ".").map(String.init)
        let other = TokenForge.encode(TokenForge.claims(["client_account_id": "8"]))
        let wrong = [
            parts[0] + "." + other + "." + parts[2],
            parts[0] + "." + parts[1] + "." + TokenForge.encode([UInt8](repeating: 0, count: 32)),
            parts[0] + "." + parts[1] + "." + TokenForge.encode([0]),
            TokenForge.encode(#"{"alg":"HS256"}"#) + "." + parts[1] + "." + parts[2],
            try await TokenForge.hmac("another secret, also longer than 32 bytes").token(),
            // Truncated to a length that is valid base64url.
            String(token.dropLast(3)),
        ]
        for text in wrong { await expectRejected(text, by: self.verifier, reason: "the token's signature is wrong") }
    }

    /// Base64url is decoded strictly, so each changed character changes the signed bytes or the signature.
    @Test func rejectsEverySingleChangedCharacter() async throws {
        let token = Array(try self.forge.token().utf8)
        for index in token.indices {
            for other in [UInt8(ascii: "A"), UInt8(ascii: "B"), UInt8(ascii: "_"), UInt8(ascii: "."), 0]
            where other != token[index] {
                var changed = token
                changed[index] = other
                let text = String(decoding: changed, as: UTF8.self)
                await #expect(throws: AccessError.self) { try await self.verifier.verify(text, now: TokenForge.now) }
            }
        }
        #expect(self.verifier.cachedCount == 0)
    }

    @Test func rejectsHeaderThatIsNotOneObject() async throws {
        for header in [
            "[]", "null", #""HS256""#, "{", " ", #"{"alg":"HS256"}x"#, #"{"alg":"HS256","alg":"HS256"}"#,
            #"{"alg":"none","alg":"HS256"}"#, #"{"alg":"HS256","\u0061lg":"none"}"#, #"{"kid":"a","alg":"HS256","kid":"b"}"#,
        ] {
            let token = try self.forge.token(header: header)
            await expectRejected(
                token, by: self.verifier, reason: "the token header is not a JSON object, or a member name occurs twice")
        }
    }

    @Test(arguments: [
        "../../../../dev/null", "' OR 1=1 --", "x' UNION SELECT 'key", "https://evil.example/jwks.json", "", "%00", "key|id", "*",
        "\\u0000", String(repeating: "k", count: 5_000),
    ])
    func rejectsUnknownKeyID(_ kid: String) async throws {
        let token = try self.forge.token(header: #"{"alg":"HS256","kid":"\#(kid)"}"#)
        await expectRejected(token, by: self.verifier, reason: "no key has the token's kid")
    }

    @Test(arguments: ["1", "null", "[]", "{}", "true"])
    func rejectsKeyIDThatIsNotString(_ kid: String) async throws {
        let token = try self.forge.token(header: #"{"alg":"HS256","kid":\#(kid)}"#)
        await expectRejected(token, by: self.verifier, reason: "kid in the token header is not a string")
    }

    @Test func rejectsOversizedToken() async throws {
        let kid = String(repeating: "k", count: 10_240)
        let token = try self.forge.token(header: #"{"alg":"HS256","kid":"\#(kid)"}"#)
        await expectRejected(token, by: self.verifier, reason: "the token is too long")
        await expectRejected(String(repeating: ".", count: 1_000_000), by: self.verifier, reason: "the token is too long")
    }

    @Test func rejectsDeepNesting() async throws {
        let deep = String(repeating: "[", count: 2_000) + String(repeating: "]", count: 2_000)
        let header = try self.forge.token(header: #"{"alg":"HS256","x":\#(deep)}"#)
        await expectRejected(
            header, by: self.verifier, reason: "the token header is not a JSON object, or a member name occurs twice")
        let claims = try self.forge.token(claims: TokenForge.claims(["x": deep]))
        await expectRejected(
            claims, by: self.verifier, reason: "the token payload is not a JSON object, or a member name occurs twice")
    }

    @Test(arguments: [#"["exp"]"#, #"["b64"]"#, "[]", "null", #""exp""#])
    func rejectsAnyCriticalExtension(_ crit: String) async throws {
        let token = try self.forge.token(header: #"{"alg":"HS256","crit":\#(crit),"b64":false}"#)
        await expectRejected(token, by: self.verifier, reason: "the token header has crit")
    }

    @Test(arguments: ["JWT", "jwt", "at+jwt", "AT+JWT", "application/at+jwt"])
    func acceptsJWTAndAccessTokenTypes(_ type: String) async throws {
        let token = try self.forge.token(header: #"{"alg":"HS256","typ":"\#(type)"}"#)
        _ = try await self.verifier.verify(token, now: TokenForge.now)
    }

    @Test(arguments: [
        #""""#, #""JWE""#, #""logout+jwt""#, #""dpop+jwt""#, #""secevent+jwt""#, #""JWT ""#, "null", "1", #"["JWT"]"#,
    ])
    func rejectsOtherTokenTypes(_ type: String) async throws {
        let token = try self.forge.token(header: #"{"alg":"HS256","typ":\#(type)}"#)
        await expectRejected(token, by: self.verifier, reason: "typ in the token header is not a JWT type")
    }

    @Test func neverUsesEmbeddedKey() async throws {
        let evil = try await TestKey.ecdsa()
        let good = try await TestKey.ecdsa()
        try await withKeySet([good.key("k")]) { path in
            let verifier = try await TokenVerifier(AccessConfiguration(jwksPath: path))
            for more in [
                #""jwk":\#(evil.key("k"))"#, #""jku":"https://evil.example/jwks.json""#,
                #""x5u":"https://evil.example/cert.pem""#,
                #""x5c":["MIIB"]"#,
            ] {
                let token = try evil.forge.token(header: #"{"alg":"ES256","kid":"k",\#(more)}"#)
                await expectRejected(token, by: verifier, reason: "the token's signature is wrong")
                // They do not affect a token that is signed with the right key.
                _ = try await verifier.verify(
                    good.forge.token(header: #"{"alg":"ES256","kid":"k",\#(more)}"#), now: TokenForge.now)
                try await verifier.reload()
            }
        }
    }

    @Test func neverUsesPublicKeyAsSecret() async throws {
        let rsa = try await TestKey.rsa()
        let forge = try await TokenForge.hmac(rsa.pem)
        try await withKeySet([rsa.key("k")]) { path in
            let verifier = try await TokenVerifier(AccessConfiguration(jwksPath: path))
            await expectRejected(
                try forge.token(header: #"{"alg":"HS256","kid":"k"}"#), by: verifier,
                reason: "the token's alg does not match the key with its kid")
            await expectRejected(
                try forge.token(header: #"{"alg":"HS256"}"#), by: verifier, reason: "the hub has no key for the token's alg")
            // If the hub also has a secret, HS256 selects that secret and not the public key.
            let both = try await TokenVerifier(AccessConfiguration(hmacKey: TokenForge.secret, jwksPath: path))
            await expectRejected(
                try forge.token(header: #"{"alg":"HS256"}"#), by: both, reason: "the token's signature is wrong")
            await expectRejected(
                try forge.token(header: #"{"alg":"HS256","kid":"k"}"#), by: both,
                reason: "the token's alg does not match the key with its kid")
        }
    }
}
