import CryptoExtras
import FlowCore
import FlowHTTP
import FoundationEssentials
import JWTKit
import Testing

/// Creates tokens byte by byte, because a library does not create the malformed ones of an attacker.
struct TokenForge: Sendable {
    static let secret = "a secret of this test, longer than 32 bytes"
    /// The tests' clock: Unix time in seconds.
    static let now: Int64 = 1_700_000_000

    let signer: any JWTAlgorithm

    static func hmac(_ secret: String = Self.secret) async throws -> TokenForge {
        TokenForge(signer: try await JWTKeyCollection().add(hmac: HMACKey(from: secret), digestAlgorithm: .sha256).getKey())
    }

    /// A token with this header and these claims. It is signed with the forge's key, also if the header names another
    /// algorithm.
    func token(header: String = #"{"alg":"HS256","typ":"JWT"}"#, claims: String = Self.claims()) throws -> String {
        let signed = Self.encode(header) + "." + Self.encode(claims)
        return signed + "." + Self.encode(try self.signer.sign(Array(signed.utf8)))
    }

    /// Valid claims with changed members.
    /// - Parameter changes: members to add, to replace or (`nil`) to omit; the values are JSON.
    static func claims(_ changes: [String: String?] = [:]) -> String {
        var members: [String: String?] = [
            "sub": #""ada""#,
            "client_account_id": #""7""#,
            "flows": #"{"subscribe":["import-*"],"publish":["import-1"]}"#,
            "scopes": #"["locks"]"#,
            "iat": "\(Self.now)",
            "exp": "\(Self.now + 600)",
        ]
        members.merge(changes) { $1 }
        let written = members.sorted { $0.key < $1.key }.compactMap { name, value in value.map { "\"\(name)\":\($0)" } }
        return "{" + written.joined(separator: ",") + "}"
    }

    static func encode(_ text: String) -> String { self.encode(Array(text.utf8)) }

    static func encode(_ bytes: some Sequence<UInt8>) -> String {
        let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
        var text = ""
        var pending = 0
        var bits = 0
        for byte in bytes {
            pending = (pending << 8 | Int(byte)) & 0xFFFF
            bits += 8
            while bits >= 6 {
                bits -= 6
                text.append(alphabet[pending >> bits & 63])
            }
        }
        if bits > 0 { text.append(alphabet[pending << (6 - bits) & 63]) }
        return text
    }
}

/// A key pair of a kind that a key set may contain: the forge signs, the JSON Web Key verifies.
struct TestKey: Sendable {
    let forge: TokenForge
    let algorithm: String
    /// The public members of the JSON Web Key, without braces.
    let members: String
    /// The public key as PEM; only for RSA.
    var pem = ""

    func key(_ kid: String?, more: String = "") -> String {
        "{" + self.members + (kid.map { #","kid":"\#($0)""# } ?? "") + more + "}"
    }

    func header(_ kid: String?) -> String {
        #"{"alg":"\#(self.algorithm)""# + (kid.map { #","kid":"\#($0)""# } ?? "") + "}"
    }

    static func rsa() async throws -> TestKey {
        let key = try JWTKit.Insecure.RSA.PrivateKey(backing: _RSA.Signing.PrivateKey(keySize: .bits2048))
        let (modulus, exponent) = try key.publicKey.getKeyPrimitives()
        return TestKey(
            forge: TokenForge(signer: try await JWTKeyCollection().add(rsa: key, digestAlgorithm: .sha256).getKey()),
            algorithm: "RS256",
            members: #""kty":"RSA","n":"\#(TokenForge.encode(modulus))","e":"\#(TokenForge.encode(exponent))""#,
            pem: key.publicKey.pemRepresentation
        )
    }

    static func ecdsa() async throws -> TestKey {
        let key = ES256PrivateKey()
        let point = try #require(key.publicKey.parameters)
        let x = try #require(Data(base64Encoded: point.x))
        let y = try #require(Data(base64Encoded: point.y))
        return TestKey(
            forge: TokenForge(signer: try await JWTKeyCollection().add(ecdsa: key).getKey()),
            algorithm: "ES256",
            members: #""kty":"EC","crv":"P-256","x":"\#(TokenForge.encode(x))","y":"\#(TokenForge.encode(y))""#
        )
    }

    static func edDSA() async throws -> TestKey {
        let key = try EdDSA.PrivateKey()
        let x = TokenForge.encode(key.publicKey.rawRepresentation)
        return TestKey(
            forge: TokenForge(signer: try await JWTKeyCollection().add(eddsa: key).getKey()),
            algorithm: "EdDSA",
            members: #""kty":"OKP","crv":"Ed25519","x":"\#(x)""#
        )
    }

    static func secret() async throws -> TestKey {
        TestKey(
            forge: try await .hmac(),
            algorithm: "HS256",
            members: #""kty":"oct","alg":"HS256","k":"\#(TokenForge.encode(TokenForge.secret))""#
        )
    }
}

/// Calls `body` with the path of a temporary file with this text.
func withFile<Result>(_ text: String, _ body: (String) async throws -> Result) async throws -> Result {
    let url = FileManager.default.temporaryDirectory.appending(path: "flowhub-access-\(UUID().uuidString).json")
    try Data(text.utf8).write(to: url)
    defer { try? FileManager.default.removeItem(at: url) }
    return try await body(url.path)
}

func withKeySet<Result>(_ keys: [String], _ body: (String) async throws -> Result) async throws -> Result {
    try await withFile(#"{"keys":[\#(keys.joined(separator: ","))]}"#, body)
}

/// Expects a 401 with the message for all invalid tokens, and this internal reason, so that a test does not pass for a
/// different reason.
func expectRejected(
    _ token: String,
    by verifier: TokenVerifier,
    reason: String,
    location: SourceLocation = #_sourceLocation
) async {
    do throws(AccessError) {
        _ = try await verifier.verify(token, now: TokenForge.now)
        Issue.record("the token was accepted", sourceLocation: location)
    } catch {
        #expect(error.code == "token_invalid", sourceLocation: location)
        #expect(error.status == 401, sourceLocation: location)
        #expect(error.reason == reason, sourceLocation: location)
        #expect(error.message.hasPrefix("The token is not valid for this hub."), sourceLocation: location)
    }
    #expect(verifier.cachedCount == 0, "a rejected token must not be cached", sourceLocation: location)
}
