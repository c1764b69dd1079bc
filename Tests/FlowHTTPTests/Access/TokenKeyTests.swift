import FlowCore
import FlowHTTP
import Testing

/// The four algorithms, key sets and key rotation.
@Suite struct TokenKeyTests {
    private static let now = TokenForge.now

    enum Kind: CaseIterable, Sendable {
        case secret, rsa, ecdsa, edDSA

        func make() async throws -> TestKey {
            switch self {
            case .secret: try await .secret()
            case .rsa: try await .rsa()
            case .ecdsa: try await .ecdsa()
            case .edDSA: try await .edDSA()
            }
        }
    }

    @Test(arguments: Kind.allCases)
    func acceptsEachAlgorithmOnlyWithItsKey(_ kind: Kind) async throws {
        let key = try await kind.make()
        try await withKeySet([key.key("k")]) { path in
            let verifier = try await TokenVerifier(AccessConfiguration(jwksPath: path))
            for kid in ["k", nil] {
                let token = try key.forge.token(header: key.header(kid))
                #expect(try await verifier.verify(token, now: Self.now).subject == "ada")
                #expect(verifier.cached(token, now: Self.now)?.subject == "ada")
            }
            try await verifier.reload()
            let parts = try key.forge.token(header: key.header("k")).split(separator: ".")
            for signature in [
                "AA", TokenForge.encode([UInt8](repeating: 0, count: 64)), TokenForge.encode([UInt8](repeating: 0, count: 256)),
            ] {
                await expectRejected(
                    "\(parts[0]).\(parts[1]).\(signature)", by: verifier, reason: "the token's signature is wrong")
            }
            for other in ["HS256", "RS256", "ES256", "EdDSA"] where other != key.algorithm {
                let token = try key.forge.token(header: #"{"alg":"\#(other)","kid":"k"}"#)
                await expectRejected(token, by: verifier, reason: "the token's alg does not match the key with its kid")
            }
        }
    }

    @Test(arguments: [Kind.rsa, .ecdsa, .edDSA])
    func rejectsOtherKeyOfSameKind(_ kind: Kind) async throws {
        let (key, stranger) = (try await kind.make(), try await kind.make())
        try await withKeySet([key.key("k")]) { path in
            let verifier = try await TokenVerifier(AccessConfiguration(jwksPath: path))
            await expectRejected(
                try stranger.forge.token(header: key.header("k")), by: verifier, reason: "the token's signature is wrong")
        }
    }

    @Test func oldAndNewKeysVerifyDuringRotation() async throws {
        let (old, new) = (try await TestKey.ecdsa(), try await TestKey.ecdsa())
        try await withKeySet([old.key("2024"), new.key("2025")]) { path in
            let verifier = try await TokenVerifier(AccessConfiguration(jwksPath: path))
            await expectRejected(
                try new.forge.token(header: new.header("2024")), by: verifier, reason: "the token's signature is wrong")
            await expectRejected(
                try new.forge.token(header: new.header("2026")), by: verifier, reason: "no key has the token's kid")
            await expectRejected(
                try new.forge.token(header: new.header(nil)), by: verifier,
                reason: "the token has no kid, and several keys match its alg")
            _ = try await verifier.verify(old.forge.token(header: old.header("2024")), now: Self.now)
            _ = try await verifier.verify(new.forge.token(header: new.header("2025")), now: Self.now)
        }
    }

    @Test func reloadRemovesOldKeyAndItsCachedTokens() async throws {
        let (old, new) = (try await TestKey.edDSA(), try await TestKey.edDSA())
        try await withKeySet([old.key("old")]) { path in
            let verifier = try await TokenVerifier(AccessConfiguration(jwksPath: path))
            let token = try old.forge.token(header: old.header("old"))
            _ = try await verifier.verify(token, now: Self.now)
            try replaceFile(path, with: #"{"keys":[\#(new.key("new"))]}"#)
            #expect(verifier.cached(token, now: Self.now) != nil)
            try await verifier.reload()
            #expect(verifier.cached(token, now: Self.now) == nil)
            await expectRejected(token, by: verifier, reason: "no key has the token's kid")
            // If the file becomes invalid later, the previous keys stay in use.
            try replaceFile(path, with: "{")
            await #expect(throws: AccessConfigurationError.self) { try await verifier.reload() }
            _ = try await verifier.verify(new.forge.token(header: new.header("new")), now: Self.now)
        }
    }

    @Test func emptiedKeySetWithdrawsItsKeys() async throws {
        let (key, other) = (try await TestKey.edDSA(), try await TestKey.secret())
        for emptied in [#"{"keys":[]}"#, #"{"keys":[{"kty":"RSA","use":"enc"}]}"#] {
            try await withKeySet([key.key("k")]) { path in
                let verifier = try await TokenVerifier(AccessConfiguration(hmacKey: TokenForge.secret, jwksPath: path))
                let token = try key.forge.token(header: key.header("k"))
                _ = try await verifier.verify(token, now: Self.now)
                try replaceFile(path, with: emptied)
                #expect(try await verifier.reload() == 0)
                await expectRejected(token, by: verifier, reason: "no key has the token's kid")
                #expect(!verifier.isOpen)
                // FLOWHUB_JWT_KEY is not part of the set.
                _ = try await verifier.verify(other.forge.token(header: other.header(nil)), now: Self.now)
            }
        }
        // A hub does not start with it: that would rather be a mistake.
        _ = try await withKeySet([]) { path in
            await #expect(throws: AccessConfigurationError.self) {
                _ = try await TokenVerifier(AccessConfiguration(jwksPath: path))
            }
        }
    }

    @Test func keysOfDifferentKindsNeedNoKeyID() async throws {
        let (rsa, ecdsa) = (try await TestKey.rsa(), try await TestKey.ecdsa())
        try await withKeySet([rsa.key(nil), ecdsa.key(nil)]) { path in
            let verifier = try await TokenVerifier(AccessConfiguration(hmacKey: TokenForge.secret, jwksPath: path))
            for key in [rsa, ecdsa, try await .secret()] {
                _ = try await verifier.verify(key.forge.token(header: key.header(nil)), now: Self.now)
            }
            try await verifier.reload()
            await expectRejected(
                try rsa.forge.token(header: rsa.header("")), by: verifier, reason: "no key has the token's kid")
        }
    }

    @Test func ignoresKeysForOtherUses() async throws {
        let (key, other) = (try await TestKey.ecdsa(), try await TestKey.ecdsa())
        let rsa = try await TestKey.rsa()
        let keys = [
            other.key("enc", more: #","use":"enc""#), other.key("ops", more: #","key_ops":["sign"]"#),
            rsa.key("pss", more: #","alg":"PS256""#), rsa.key("oaep", more: #","alg":"RSA-OAEP""#),
            #"{"kty":"EC","crv":"P-521","kid":"p521"}"#, #"{"kty":"OKP","crv":"X25519","kid":"x"}"#,
            #"{"kty":"new","kid":"new"}"#,
            #"{"kid":"nothing"}"#, key.key("k", more: #","use":"sig","alg":"ES256","key_ops":["verify"]"#),
        ]
        try await withKeySet(keys) { path in
            let verifier = try await TokenVerifier(AccessConfiguration(jwksPath: path))
            for kid in ["enc", "ops"] {
                await expectRejected(
                    try other.forge.token(header: other.header(kid)), by: verifier, reason: "no key has the token's kid")
            }
            await expectRejected(
                try rsa.forge.token(header: rsa.header("pss")), by: verifier, reason: "no key has the token's kid")
            _ = try await verifier.verify(key.forge.token(header: key.header(nil)), now: Self.now)
        }
    }
}
