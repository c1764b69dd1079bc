import CryptoExtras
import FlowCore
import FlowHTTP
import FoundationEssentials
import JWTKit
import Testing

/// Makes tokens byte by byte, the wrong ones above all: no library writes what an attacker writes.
struct TokenForge: Sendable {
    static let secret = "a secret of this test, longer than 32 bytes"
    /// The tests' clock, in unix seconds.
    static let now: Int64 = 1_700_000_000

    let signer: any JWTAlgorithm

    static func hmac(_ secret: String = Self.secret) async throws -> TokenForge {
        TokenForge(signer: try await JWTKeyCollection().add(hmac: HMACKey(from: secret), digestAlgorithm: .sha256).getKey())
    }

    /// A token of this header and these claims, signed by the forge's key whatever the header says.
    func token(header: String = #"{"alg":"HS256","typ":"JWT"}"#, claims: String = Self.claims()) throws -> String {
        let signed = Self.encode(header) + "." + Self.encode(claims)
        return signed + "." + Self.encode(try self.signer.sign(Array(signed.utf8)))
    }

    /// Good claims, with members added, replaced or (by `nil`) left out; values are JSON.
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

/// A key pair of each kind that a key set may hold: the forge signs, the JSON Web Key verifies.
struct TestKey: Sendable {
    let forge: TokenForge
    let algorithm: String
    /// The public members, without the braces.
    let members: String
    /// For RSA: the public key as a PEM file.
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

/// Gives the body the path of a file with this text, and removes it.
func withFile<Result>(_ text: String, _ body: (String) async throws -> Result) async throws -> Result {
    let url = FileManager.default.temporaryDirectory.appending(path: "flowhub-access-\(UUID().uuidString).json")
    try Data(text.utf8).write(to: url)
    defer { try? FileManager.default.removeItem(at: url) }
    return try await body(url.path)
}

func withKeySet<Result>(_ keys: [String], _ body: (String) async throws -> Result) async throws -> Result {
    try await withFile(#"{"keys":[\#(keys.joined(separator: ","))]}"#, body)
}

/// Expects 401, the words that every invalid token gets, and this reason inside: a test that fails for another is no test.
func expectRejected(
    _ token: String,
    by verifier: TokenVerifier,
    reason: String,
    location: SourceLocation = #_sourceLocation
) async {
    do throws(AccessError) {
        _ = try await verifier.verify(token, now: TokenForge.now)
        Issue.record("the token was taken", sourceLocation: location)
    } catch {
        #expect(error.code == "token_invalid", sourceLocation: location)
        #expect(error.status == 401, sourceLocation: location)
        #expect(error.reason == reason, sourceLocation: location)
        #expect(error.message.hasPrefix("The token is not valid for this hub."), sourceLocation: location)
    }
    #expect(verifier.cachedCount == 0, "a refused token must not be remembered", sourceLocation: location)
}
