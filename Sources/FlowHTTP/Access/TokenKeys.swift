import FoundationEssentials
import JWTKit

/// The keys that verify tokens. Each is for one algorithm, which comes from the configuration and never from a token.
struct TokenKeys: Sendable {
    /// jwt-kit's implementation of one algorithm with one key.
    typealias Signature = any JWTAlgorithm

    private struct Name: Hashable {
        let keyID: String
        let algorithm: TokenAlgorithm
    }

    private var named: [Name: Signature] = [:]
    private var keyIDs: Set<String> = []
    private var all: [TokenAlgorithm: [Signature]] = [:]

    var isEmpty: Bool { self.all.isEmpty }

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
            throw .tokenInvalid("the signature is wrong")
        }
    }

    private func signature(for header: TokenHeader) throws(AccessError) -> Signature {
        guard let keyID = header.keyID else {
            guard let candidates = self.all[header.algorithm], let only = candidates.first else {
                throw .tokenInvalid("no key for alg")
            }
            guard candidates.count == 1 else { throw .tokenInvalid("kid is missing and several keys match alg") }
            return only
        }
        guard self.keyIDs.contains(keyID) else { throw .tokenInvalid("the kid is unknown") }
        guard let signature = self.named[Name(keyID: keyID, algorithm: header.algorithm)] else {
            throw .tokenInvalid("alg does not match the key")
        }
        return signature
    }
}

extension TokenKeys {
    /// Reads the keys of the configuration.
    /// - Throws: ``AccessConfigurationError`` if a secret or the key set is invalid.
    static func load(_ configuration: AccessConfiguration) async throws(AccessConfigurationError) -> TokenKeys {
        var keys = TokenKeys()
        if let key = configuration.hmacKey {
            try Self.validateSecret(key)
            guard let signature = await KeySetFile.hmac(Array(key.utf8)) else {
                throw AccessConfigurationError("FLOWHUB_JWT_KEY", "the secret is unusable", remedy: "Generate a new one.")
            }
            _ = keys.add(signature, keyID: nil, for: .hs256)
        }
        if let path = configuration.jwksPath {
            try await keys.add(keySet: KeySetFile.read(path))
        }
        return keys
    }

    /// - Throws: ``AccessConfigurationError`` for a secret that is shorter than 32 bytes or a PEM file.
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

    private mutating func add(keySet: [KeySetFile.Key]) async throws(AccessConfigurationError) {
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
