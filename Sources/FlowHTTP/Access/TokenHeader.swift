import FlowCore

/// The signature algorithms that the hub accepts (RFC 8725, 3.1 and 3.2).
enum TokenAlgorithm: String, Sendable, Hashable, CaseIterable {
    case hs256 = "HS256"
    case rs256 = "RS256"
    case es256 = "ES256"
    case edDSA = "EdDSA"
}

/// The parameters of a token's header that the hub reads. It ignores `jwk`, `jku`, `x5u` and `x5c`: a token must not supply its
/// own key.
struct TokenHeader {
    let algorithm: TokenAlgorithm
    /// `kid`; `nil` if the header has none.
    let keyID: String?

    /// Parses the decoded first part of a token.
    /// - Throws: ``AccessError`` `token_invalid` for a header that the hub does not accept.
    init(_ bytes: [UInt8]) throws(AccessError) {
        guard let object = TokenObject(bytes) else {
            throw .tokenInvalid(
                "the token header is not a JSON object, or a member name occurs twice", remedy: "Issue tokens with a JWT library."
            )
        }
        // `crit` lists extensions that a verifier must understand (RFC 7515, 4.1.11). The hub understands none.
        guard !object.has("crit") else {
            throw .tokenInvalid("the token header has crit", claim: "crit", remedy: "Issue tokens without crit in their header.")
        }
        guard let name = object.string("alg"), let algorithm = TokenAlgorithm(rawValue: name) else {
            throw .tokenInvalid(
                "alg in the token header is not one of HS256, RS256, ES256, EdDSA", claim: "alg",
                seen: object.string("alg") ?? "none", remedy: "Sign tokens with HS256, RS256, ES256 or EdDSA.")
        }
        if object.has("typ") {
            guard let type = object.string("typ"), Self.accepts(type: type) else {
                throw .tokenInvalid(
                    "typ in the token header is not a JWT type", claim: "typ", seen: object.string("typ"),
                    remedy: "Send an access token, whose typ is JWT or at+jwt, and no token for another purpose.")
            }
        }
        if object.has("kid") {
            guard let keyID = object.string("kid") else {
                throw .tokenInvalid(
                    "kid in the token header is not a string", claim: "kid", remedy: "Issue tokens whose kid is a string.")
            }
            self.keyID = keyID
        } else {
            self.keyID = nil
        }
        self.algorithm = algorithm
    }

    /// Whether `typ` is that of an access token, so that tokens for other purposes are rejected (RFC 8725, 3.11). The prefix
    /// `application/` is optional (RFC 9068, 4).
    private static func accepts(type: String) -> Bool {
        ["jwt", "at+jwt", "application/jwt", "application/at+jwt"].contains(type.lowercased())
    }
}
