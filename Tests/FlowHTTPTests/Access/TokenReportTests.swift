import FlowCore
import FlowHTTP
import Testing

/// What `flowhub token check` says of a token.
@Suite struct TokenReportTests {
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

    @Test func reportHasPrincipalAndClaims() async throws {
        let verifier = try await self.verifier()
        let token = try self.token()
        let report = verifier.report(on: token, now: Self.now)
        #expect(try report.result.get() == (await verifier.verify(token, now: Self.now)))
        #expect(report.header?.member("alg")?.stringValue == "HS256")
        #expect(report.claims?.member("sub")?.stringValue == "ada")
    }

    /// `Date.now()` of JavaScript and `System.currentTimeMillis()` of Java, put into a claim without a division.
    @Test(arguments: ["exp", "nbf", "iat"])
    func millisecondsAreRejectedWithThatReason(_ name: String) async throws {
        let verifier = try await self.verifier { $0.maximumLifetime = 0 }
        for value in ["\(Self.now)000", "1.7e12", "253402300800", "253402300799999"] {
            let token = try self.token([name: value])
            await expectRejected(token, by: verifier, reason: "the claim exp, nbf or iat is in milliseconds, not in seconds")
            guard case .failure(let error) = verifier.report(on: token, now: Self.now).result else {
                Issue.record("accepted")
                continue
            }
            #expect(error.claim == name && error.seen == value && error.remedy.hasPrefix("Divide it by 1000"))
        }
    }

    /// The last second of the year 9999 is the end of tokens that never end, of .NET's `DateTime.MaxValue`.
    @Test(arguments: ["253402300799", "9999999999", "99999999999", "253402300800000", "9007199254740992"])
    func otherLateTimesOfExpiryAreAccepted(_ value: String) async throws {
        let verifier = try await self.verifier { $0.maximumLifetime = 0 }
        #expect(try await verifier.verify(self.token(["exp": value]), now: Self.now).expiresAt == Int64(value))
    }

    @Test func everyRejectionNamesClaimAndRemedy() async throws {
        let verifier = try await self.verifier {
            $0.audience = "hub"
            $0.issuer = "issuer"
        }
        let good: [String: String?] = ["aud": #""hub""#, "iss": #""issuer""#]
        for (changes, claim, seen) in [
            (["exp": nil], "exp", "none"),
            (["exp": "\(Self.now - 100)"], "exp", "\(Self.now - 100), and the hub's clock has \(Self.now)"),
            (["nbf": "\(Self.now + 100)"], "nbf", "\(Self.now + 100), and the hub's clock has \(Self.now)"),
            (["iat": "\(Self.now + 100)"], "iat", "\(Self.now + 100), and the hub's clock has \(Self.now)"),
            (["iat": #""x""#], "iat", #""x""#), (["aud": nil], "aud", "none"), (["aud": #"["other"]"#], "aud", #"["other"]"#),
            (["aud": "1"], "aud", "1"), (["iss": nil], "iss", "none"), (["iss": #""other""#], "iss", #""other""#),
            (["sub": #""a\u0000""#], "sub", nil), (["client_account_id": "1.5"], "client_account_id", "1.5"),
            (["flows": "1"], "flows", "1"), (["flows": #"{"publish":"a"}"#], "flows.publish", #""a""#),
            (["flows": #"{"subscribe":["a b"]}"#], "flows.subscribe", #""a b""#),
            (["scopes": #""locks""#], "scopes", #""locks""#),
            (["exp": "\(Self.now + 40_000_000)"], "exp", "\(Self.now + 40_000_000), 40000000 s after iat"),
        ] as [([String: String?], String, String?)] {
            let token = try self.token(good.merging(changes) { $1 })
            guard case .failure(let error) = verifier.report(on: token, now: Self.now).result else {
                Issue.record("accepted: \(changes)")
                continue
            }
            #expect(error.claim == claim && error.seen == seen, "\(changes): \(error.claim ?? "-") \(error.seen ?? "-")")
            #expect(!error.reason.isEmpty && !error.remedy.isEmpty, "\(changes): \(error.remedy)")
        }
    }

    /// Nothing of a rejected token that could be used, or that somebody put into the wrong place, is shown.
    @Test func seenIsShortAndNeverTheToken() async throws {
        let verifier = try await self.verifier()
        let token = try self.token()
        for text in [token + ".x", token.filter { $0 != "." }, "Bearer " + token, token + "=", "a.b.c", ""] {
            guard case .failure(let error) = verifier.report(on: text, now: Self.now).result else {
                Issue.record("accepted: \(text)")
                continue
            }
            let shown = "\(error.reason) \(error.seen ?? "") \(error.remedy) \(error.message)"
            #expect(!shown.contains(token.suffix(20)) && !shown.contains(token.prefix(30)), "\(shown)")
        }
        let forged = try self.forge.token(header: #"{"alg":"HS256","kid":"\#(token)"}"#)
        guard case .failure(let error) = verifier.report(on: forged, now: Self.now).result else {
            Issue.record("accepted")
            return
        }
        #expect(error.claim == "kid" && error.seen?.count == 80 && error.seen?.contains(token.suffix(20)) == false)
    }
}
