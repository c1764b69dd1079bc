import FoundationEssentials
import JWTKit

/// The keys that verify tokens. Each is for one algorithm, which comes from the configuration and never from a token.
struct TokenKeys: Sendable {
    /// jwt-kit's implementation of one algorithm with one key.
    typealias Signature = any JWTAlgorithm

    /// The `kid` and the algorithm, which together select a key that has a `kid`.
    private struct Name: Hashable {
        let keyID: String
        let algorithm: TokenAlgorithm
    }

    /// The keys that have a `kid`.
    private var named: [Name: Signature] = [:]
    /// Every `kid`, for any algorithm.
    private var keyIDs: Set<String> = []
    /// All keys, with and without `kid`.
    private var all: [TokenAlgorithm: [Signature]] = [:]

    /// Number of keys of the key set in use.
    private(set) var keySetCount = 0

    /// Adds a key.
    /// - Returns: `false` if there is already a key with this `kid` for this algorithm.
    mutating func add(_ signature: Signature, keyID: String?, for algorithm: TokenAlgorithm) -> Bool {
        if let keyID {
            guard self.named.updateValue(signature, forKey: Name(keyID: keyID, algorithm: algorithm)) == nil else { return false }
            self.keyIDs.insert(keyID)
        }
        self.all[algorithm, default: []].append(signature)
        return true
    }

    /// Verifies a token's signature with the one key that its header selects.
    ///
    /// jwt-kit's key collection is not used, because it falls back to a default key if the `kid` is unknown.
    ///
    /// - Throws: ``AccessError`` `token_invalid` if no single key matches or the signature is wrong.
    func check(_ parts: TokenParts, header: TokenHeader) throws(AccessError) {
        let signature = try self.signature(for: header)
        // An unreadable signature (wrong length) throws; the result is the same as for a wrong one.
        guard (try? signature.verify(parts.signature, signs: parts.signedBytes)) == true else {
            throw .tokenInvalid(
                "the token's signature is wrong", seen: header.keyID.map { "kid \($0)" },
                remedy:
                    "Sign with the hub's key: the secret in FLOWHUB_JWT_KEY, or the private key of one in FLOWHUB_JWKS. The token "
                    + "may be from another environment.")
        }
    }

    /// The key that the header selects: the key with its `kid` and `alg`. A header without `kid` selects the only key for
    /// its `alg`.
    private func signature(for header: TokenHeader) throws(AccessError) -> Signature {
        guard let keyID = header.keyID else {
            guard let candidates = self.all[header.algorithm], let only = candidates.first else {
                throw .tokenInvalid(
                    "the hub has no key for the token's alg", claim: "alg", seen: header.algorithm.rawValue,
                    remedy: "Add a key for it to FLOWHUB_JWKS (for HS256: set FLOWHUB_JWT_KEY), or sign with another algorithm.")
            }
            guard candidates.count == 1 else {
                throw .tokenInvalid(
                    "the token has no kid, and several keys match its alg", claim: "kid", seen: "none",
                    remedy: "Issue tokens with the kid of their key.")
            }
            return only
        }
        guard self.keyIDs.contains(keyID) else {
            throw .tokenInvalid(
                "no key has the token's kid", claim: "kid", seen: keyID,
                remedy: "Add the key with this kid to the file of FLOWHUB_JWKS, or sign with one that it has.")
        }
        guard let signature = self.named[Name(keyID: keyID, algorithm: header.algorithm)] else {
            throw .tokenInvalid(
                "the token's alg does not match the key with its kid", claim: "alg", seen: header.algorithm.rawValue,
                remedy: "Sign with the algorithm of the key that has this kid.")
        }
        return signature
    }
}

extension TokenKeys {
    /// Reads the keys of the configuration.
    /// - Parameter mayBeEmpty: see ``KeySetFile/read(_:mayBeEmpty:)``.
    /// - Throws: ``AccessConfigurationError`` if a secret or the key set is invalid.
    static func load(
        _ configuration: AccessConfiguration, mayBeEmpty: Bool
    ) async throws(AccessConfigurationError) -> TokenKeys {
        var keys = TokenKeys()
        if let key = configuration.hmacKey {
            try Self.validateSecret(key)
            guard let signature = await KeySetFile.hmac(Array(key.utf8)) else {
                throw AccessConfigurationError(
                    "FLOWHUB_JWT_KEY", "cannot make an HMAC key of the secret",
                    remedy: "Generate one with: openssl rand -base64 48")
            }
            _ = keys.add(signature, keyID: nil, for: .hs256)
        }
        if let path = configuration.jwksPath {
            try await keys.add(keySet: KeySetFile.read(path, mayBeEmpty: mayBeEmpty))
        }
        return keys
    }

    /// Checks the value of `FLOWHUB_JWT_KEY`.
    /// - Throws: ``AccessConfigurationError`` if it is a PEM file or shorter than 32 bytes.
    static func validateSecret(_ key: String) throws(AccessConfigurationError) {
        let setting = "FLOWHUB_JWT_KEY"
        // If a public key were the secret, anyone with the public key could sign tokens (RFC 8725, 2.1).
        guard !key.contains("-----BEGIN") else {
            throw AccessConfigurationError(
                setting,
                "the value is a PEM file, not an HS256 secret",
                remedy: "Put public keys into a JSON Web Key Set file and set FLOWHUB_JWKS to its path."
            )
        }
        guard key.utf8.count >= KeySetFile.minimumSecretBytes else {
            throw AccessConfigurationError(
                setting,
                "the secret has \(key.utf8.count) bytes and HS256 needs at least \(KeySetFile.minimumSecretBytes)",
                remedy: "Generate one with: openssl rand -base64 48"
            )
        }
    }

    /// Adds the keys of a key set.
    /// - Throws: ``AccessConfigurationError`` if a key is invalid, or two keys of one algorithm have the same `kid`.
    private mutating func add(keySet: [KeySetFile.Key]) async throws(AccessConfigurationError) {
        self.keySetCount = keySet.count
        for key in keySet {
            let signature = try await key.signature()
            guard self.add(signature, keyID: key.keyID, for: key.algorithm) else {
                throw KeySetFile.error(
                    "two \(key.algorithm.rawValue) keys have the same kid",
                    remedy: "Give each key its own kid."
                )
            }
        }
    }
}
