import FlowCore
import FlowHTTP
import FoundationEssentials
import Testing

/// What the hub does not start with, and whether its words help.
@Suite struct AccessConfigurationTests {
    private func refusal(_ configuration: AccessConfiguration) async throws -> String {
        let error = await #expect(throws: AccessConfigurationError.self) { try await TokenVerifier(configuration) }
        return try #require(error).description
    }

    private func refusal(keySet text: String) async throws -> String {
        try await withFile(text) { try await self.refusal(AccessConfiguration(jwksPath: $0)) }
    }

    @Test func withoutKeysEverybodyIsOpen() async throws {
        let verifier = try await TokenVerifier(AccessConfiguration())
        #expect(verifier.isOpen)
        #expect(try await verifier.verify("whatever", now: 0) == .open)
        #expect(verifier.cached("", now: 0) == .open)
    }

    @Test(arguments: ["", "short", String(repeating: "k", count: 31)])
    func shortSecrets(_ key: String) async throws {
        let text = try await self.refusal(AccessConfiguration(hmacKey: key))
        #expect(text.hasPrefix("FLOWHUB_JWT_KEY: the secret has \(key.utf8.count) bytes and HS256 needs at least 32."))
        _ = try await TokenVerifier(AccessConfiguration(hmacKey: String(repeating: "k", count: 32)))
    }

    @Test func aPublicKeyAsTheSecret() async throws {
        let text = try await self.refusal(AccessConfiguration(hmacKey: try await TestKey.rsa().pem))
        #expect(text.hasPrefix("FLOWHUB_JWT_KEY: this is a PEM file") && text.contains("FLOWHUB_JWKS"))
    }

    @Test func aMissingFile() async throws {
        let text = try await self.refusal(AccessConfiguration(jwksPath: "/nowhere/jwks.json"))
        #expect(text.hasPrefix("FLOWHUB_JWKS: the file /nowhere/jwks.json cannot be read."))
    }

    @Test(arguments: [
        ("", "is not JSON"), ("-----BEGIN PUBLIC KEY-----", "is not JSON"), ("{}", "is not a key set"),
        ("[]", "is not a key set"),
        (#"{"keys":{}}"#, "is not a key set"), (#"{"kty":"RSA"}"#, "is not a key set"),
        (#"{"keys":[],"keys":[]}"#, "is not a key set"), (#"{"keys":[]}"#, "no key that the hub can use"),
        (#"{"keys":[{"kty":"EC","crv":"P-384"}]}"#, "no key that the hub can use"),
        (#"{"keys":["k"]}"#, "key 1 is not an object"),
        (#"{"keys":[{"kty":"RSA"}]}"#, "key 1 (RS256) is broken or too weak"),
        (#"{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"}]}"#, "key 1 (RS256) is broken or too weak"),
        (#"{"keys":[{"kty":"EC","crv":"P-256","x":"AAAA","y":"AAAA"}]}"#, "key 1 (ES256) is broken or too weak"),
        (#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"AAAA"}]}"#, "key 1 (EdDSA) is broken or too weak"),
        (#"{"keys":[{"kty":"OKP","crv":"Ed25519"}]}"#, "key 1 (EdDSA) is broken or too weak"),
        (#"{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}"#, "key 1 is a secret without alg"),
        (#"{"keys":[{"kty":"oct","alg":"HS256","k":"c2VjcmV0"}]}"#, "key 1 (HS256) is broken or too weak"),
        (#"{"keys":[{"kty":"oct","alg":"HS512","k":"c2VjcmV0"}]}"#, "no key that the hub can use"),
        (#"{"keys":[{"kty":"RSA","kid":7}]}"#, "the kid of key 1 is not a string"),
    ])
    func keySets(_ text: String, _ problem: String) async throws {
        let refusal = try await self.refusal(keySet: text)
        #expect(refusal.hasPrefix("FLOWHUB_JWKS: ") && refusal.contains(problem))
    }

    @Test func sameNameTwice() async throws {
        let key = try await TestKey.ecdsa()
        let text = try await self.refusal(keySet: #"{"keys":[\#(key.key("k")),\#(key.key("k"))]}"#)
        #expect(text.contains("two ES256 keys have the same kid"))
    }

    @Test(arguments: [-1, 61])
    func leewayHasABound(_ seconds: Int) async throws {
        let text = try await self.refusal(AccessConfiguration(hmacKey: TokenForge.secret, leewaySeconds: seconds))
        #expect(text.contains("\(seconds) s is out of range"))
    }

    @Test func anEmptyAudience() async throws {
        let text = try await self.refusal(AccessConfiguration(hmacKey: TokenForge.secret, audience: ""))
        #expect(text.hasPrefix("FLOWHUB_JWT_AUDIENCE: "))
    }
}

/// Writes another text into a test's file.
func replaceFile(_ path: String, with text: String) throws {
    try Data(text.utf8).write(to: URL(filePath: path))
}
