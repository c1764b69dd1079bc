import FlowCore
import FlowHTTP
import FoundationEssentials
import Testing

/// Invalid access settings, and whether their messages name the setting and the problem.
@Suite struct AccessConfigurationTests {
    private func rejection(_ configuration: AccessConfiguration) async throws -> String {
        let error = await #expect(throws: AccessConfigurationError.self) { try await TokenVerifier(configuration) }
        return try #require(error).description
    }

    private func rejection(keySet text: String) async throws -> String {
        try await withFile(text) { try await self.rejection(AccessConfiguration(jwksPath: $0)) }
    }

    @Test func verifierWithoutKeysAcceptsAnyToken() async throws {
        let verifier = try await TokenVerifier(AccessConfiguration())
        #expect(verifier.isOpen)
        #expect(try await verifier.verify("whatever", now: 0) == .open)
        #expect(verifier.cached("", now: 0) == .open)
    }

    @Test(arguments: ["", "short", String(repeating: "k", count: 31)])
    func rejectsShortSecret(_ key: String) async throws {
        let text = try await self.rejection(AccessConfiguration(hmacKey: key))
        #expect(text.hasPrefix("FLOWHUB_JWT_KEY: the secret has \(key.utf8.count) bytes and HS256 needs at least 32."))
        _ = try await TokenVerifier(AccessConfiguration(hmacKey: String(repeating: "k", count: 32)))
    }

    @Test func rejectsPublicKeyAsSecret() async throws {
        let text = try await self.rejection(AccessConfiguration(hmacKey: try await TestKey.rsa().pem))
        #expect(text.hasPrefix("FLOWHUB_JWT_KEY: the value is a PEM file") && text.contains("FLOWHUB_JWKS"))
    }

    @Test func rejectsMissingKeySetFile() async throws {
        let text = try await self.rejection(AccessConfiguration(jwksPath: "/nowhere/jwks.json"))
        #expect(text.hasPrefix("FLOWHUB_JWKS: the file /nowhere/jwks.json cannot be read."))
    }

    @Test(arguments: [
        ("", "is not JSON"), ("-----BEGIN PUBLIC KEY-----", "is not JSON"), ("{}", "is not a key set"),
        ("[]", "is not a key set"),
        (#"{"keys":{}}"#, "is not a key set"), (#"{"kty":"RSA"}"#, "is not a key set"),
        (#"{"keys":[],"keys":[]}"#, "is not a key set"), (#"{"keys":[]}"#, "no usable key"),
        (#"{"keys":[{"kty":"EC","crv":"P-384"}]}"#, "no usable key"),
        (#"{"keys":["k"]}"#, "key 1 is not a JSON object"),
        (#"{"keys":[{"kty":"RSA"}]}"#, "key 1 (RS256) is invalid or too weak"),
        (#"{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"}]}"#, "key 1 (RS256) is invalid or too weak"),
        (#"{"keys":[{"kty":"EC","crv":"P-256","x":"AAAA","y":"AAAA"}]}"#, "key 1 (ES256) is invalid or too weak"),
        (#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"AAAA"}]}"#, "key 1 (EdDSA) is invalid or too weak"),
        (#"{"keys":[{"kty":"OKP","crv":"Ed25519"}]}"#, "key 1 (EdDSA) is invalid or too weak"),
        (#"{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}"#, "key 1 (a secret) has no alg"),
        (#"{"keys":[{"kty":"oct","alg":"HS256","k":"c2VjcmV0"}]}"#, "key 1 (HS256) is invalid or too weak"),
        (#"{"keys":[{"kty":"oct","alg":"HS512","k":"c2VjcmV0"}]}"#, "no usable key"),
        (#"{"keys":[{"kty":"RSA","kid":7}]}"#, "the kid of key 1 is not a string"),
    ])
    func rejectsInvalidKeySet(_ text: String, _ problem: String) async throws {
        let rejection = try await self.rejection(keySet: text)
        #expect(rejection.hasPrefix("FLOWHUB_JWKS: ") && rejection.contains(problem))
    }

    @Test func rejectsDuplicateKeyID() async throws {
        let key = try await TestKey.ecdsa()
        let text = try await self.rejection(keySet: #"{"keys":[\#(key.key("k")),\#(key.key("k"))]}"#)
        #expect(text.contains("two ES256 keys have the same kid"))
    }

    @Test(arguments: [-1, 61])
    func rejectsLeewayOutOfRange(_ seconds: Int) async throws {
        let text = try await self.rejection(AccessConfiguration(hmacKey: TokenForge.secret, leewaySeconds: seconds))
        #expect(text.contains("\(seconds) s is out of range"))
    }

    @Test func rejectsEmptyAudience() async throws {
        let text = try await self.rejection(AccessConfiguration(hmacKey: TokenForge.secret, audience: ""))
        #expect(text.hasPrefix("FLOWHUB_JWT_AUDIENCE: "))
    }
}

/// Replaces the content of a file.
func replaceFile(_ path: String, with text: String) throws {
    try Data(text.utf8).write(to: URL(filePath: path))
}
