import FlowCore
import Testing

@testable import FlowHTTP

@Suite struct TokenCacheTests {
    private static let now = TokenForge.now

    private static func principal(_ subject: String) -> Principal {
        Principal(account: "7", subject: subject, subscribe: [], publish: [], scopes: [], issuedAt: 0, expiresAt: nil)
    }

    @Test func cachesTokenUntilExpirationPlusLeeway() async throws {
        let verifier = try await TokenVerifier(AccessConfiguration(hmacKey: TokenForge.secret))
        let token = try await TokenForge.hmac().token(claims: TokenForge.claims(["exp": "\(Self.now + 10)"]))
        #expect(verifier.cached(token, now: Self.now) == nil)
        _ = try await verifier.verify(token, now: Self.now)
        #expect(verifier.cached(token, now: Self.now + 69)?.subject == "ada")
        #expect(verifier.cached(token + "A", now: Self.now) == nil)
        #expect(verifier.cached(String(token.dropLast()), now: Self.now) == nil)
        #expect(verifier.cached(token, now: Self.now + 70) == nil)
        #expect(verifier.cachedCount == 0)
        await #expect(throws: AccessError.tokenExpired) { try await verifier.verify(token, now: Self.now + 70) }
    }

    @Test func zeroSizeDisablesCache() async throws {
        let verifier = try await TokenVerifier(AccessConfiguration(hmacKey: TokenForge.secret, cacheSize: 0))
        let token = try await TokenForge.hmac().token()
        _ = try await verifier.verify(token, now: Self.now)
        #expect(verifier.cachedCount == 0)
    }

    @Test func neverExceedsCapacity() {
        var cache = TokenCache(capacity: 100)
        for number in 0..<10_000 {
            cache.insert(Self.principal("\(number)"), for: "\(number)")
            #expect(cache.count <= 100)
        }
        #expect(cache.principal(for: "9999")?.subject == "9999")
        #expect(cache.principal(for: "0") == nil)
    }

    @Test func keepsRecentlyUsedToken() {
        var cache = TokenCache(capacity: 10)
        cache.insert(Self.principal("kept"), for: "kept")
        for number in 0..<1_000 {
            cache.insert(Self.principal("\(number)"), for: "\(number)")
            #expect(cache.principal(for: "kept")?.subject == "kept")
        }
    }

    @Test func neverExceedsMaximumBytes() {
        var cache = TokenCache(capacity: 1_000, maximumBytes: 1_000)
        for number in 0..<500 {
            cache.insert(Self.principal("a"), for: "\(1_000 + number)" + String(repeating: "x", count: 96))
            #expect(cache.count <= 10)
        }
        cache.insert(Self.principal("a"), for: String(repeating: "y", count: 501))
        #expect(cache.principal(for: String(repeating: "y", count: 501)) == nil)
    }

    @Test func removesOneTokenOrAllTokens() {
        var cache = TokenCache(capacity: 10)
        for name in ["a", "b", "c", "d", "e", "f"] { cache.insert(Self.principal(name), for: name) }
        cache.remove("a")
        cache.remove("f")
        #expect(cache.principal(for: "a") == nil && cache.principal(for: "f") == nil && cache.count == 4)
        cache.removeAll()
        #expect(cache.count == 0)
    }

    @Test(arguments: ["", "A", "AAAAA", "AA=", "AA==", "AB", "AAB", "A+", "A/", "A A", "Aé"])
    func base64URLRejectsInvalidText(_ text: String) {
        #expect(Base64URL.decode(text.utf8) == (text.isEmpty ? [] : nil))
    }

    @Test func base64URLDecodesEncodedBytes() {
        for length in 0..<70 {
            let bytes = (0..<length).map { UInt8(truncatingIfNeeded: $0 &* 89 &+ length) }
            #expect(Base64URL.decode(TokenForge.encode(bytes).utf8) == bytes)
        }
    }
}
