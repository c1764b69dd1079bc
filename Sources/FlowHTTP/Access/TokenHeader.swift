import FlowCore

/// The algorithms that the hub verifies; there is no other way to a signature check (RFC 8725, 3.1 and 3.2).
enum TokenAlgorithm: String, Sendable, Hashable, CaseIterable {
    case hs256 = "HS256"
    case rs256 = "RS256"
    case es256 = "ES256"
    case edDSA = "EdDSA"
}

/// What the hub reads of a token's header. `jwk`, `jku`, `x5u` and `x5c` are not read: a token does not bring its own key.
struct TokenHeader {
    let algorithm: TokenAlgorithm
    /// `nil` if the header has none.
    let keyID: String?

    init(_ bytes: [UInt8]) throws(AccessError) {
        guard let object = TokenObject(bytes) else { throw .tokenInvalid("the header is not a JSON object") }
        // RFC 7515, 4.1.11: an extension that is marked critical and not understood. None is understood here.
        guard !object.has("crit") else { throw .tokenInvalid("the header has crit") }
        guard let name = object.string("alg"), let algorithm = TokenAlgorithm(rawValue: name) else {
            throw .tokenInvalid("alg is not one of HS256, RS256, ES256, EdDSA")
        }
        if object.has("typ") {
            guard let type = object.string("typ"), Self.accepts(type: type) else { throw .tokenInvalid("typ is another one") }
        }
        if object.has("kid") {
            guard let keyID = object.string("kid") else { throw .tokenInvalid("kid is not a string") }
            self.keyID = keyID
        } else {
            self.keyID = nil
        }
        self.algorithm = algorithm
    }

    /// RFC 8725, 3.11, against tokens that were made for something else. RFC 9068, 4: with or without `application/`.
    private static func accepts(type: String) -> Bool {
        ["jwt", "at+jwt", "application/jwt", "application/at+jwt"].contains(type.lowercased())
    }
}
