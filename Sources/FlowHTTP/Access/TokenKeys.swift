import FoundationEssentials
import JWTKit

/// The keys that tokens are checked with. Each is for one algorithm, which it has from the configuration and never from a token.
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

    /// - Returns: `false` if there is a key of this name for this algorithm.
    mutating func add(_ signature: Signature, keyID: String?, for algorithm: TokenAlgorithm) -> Bool {
        if let keyID {
            guard self.named.updateValue(signature, forKey: Name(keyID: keyID, algorithm: algorithm)) == nil else { return false }
            self.keyIDs.insert(keyID)
        }
        self.all[algorithm, default: []].append(signature)
        return true
    }

    /// Checks a token's signature with the one key that its header can mean.
    ///
    /// jwt-kit's key collection is not asked, for it falls back to a default key where it does not know the `kid`.
    func check(_ parts: TokenParts, header: TokenHeader) throws(AccessError) {
        let signature = try self.signature(for: header)
        // A signature that cannot even be read (wrong length) throws; to the caller that is the same.
        guard (try? signature.verify(parts.signature, signs: parts.signedBytes)) == true else {
            throw .tokenInvalid("the signature is wrong")
        }
    }

    private func signature(for header: TokenHeader) throws(AccessError) -> Signature {
        guard let keyID = header.keyID else {
            guard let candidates = self.all[header.algorithm], let only = candidates.first else {
                throw .tokenInvalid("no key for alg")
            }
            guard candidates.count == 1 else { throw .tokenInvalid("kid is missing and several keys could be meant") }
            return only
        }
        guard self.keyIDs.contains(keyID) else { throw .tokenInvalid("the kid is unknown") }
        guard let signature = self.named[Name(keyID: keyID, algorithm: header.algorithm)] else {
            throw .tokenInvalid("alg is not what the key is for")
        }
        return signature
    }
}

extension TokenKeys {
    /// The keys that the configuration names.
    static func load(_ configuration: AccessConfiguration) async throws(AccessConfigurationError) -> TokenKeys {
        var keys = TokenKeys()
        if let key = configuration.hmacKey {
            try Self.validateSecret(key)
            guard let signature = await KeySetFile.hmac(Array(key.utf8)) else {
                throw AccessConfigurationError("FLOWHUB_JWT_KEY", "the secret cannot be used", remedy: "Make a new one.")
            }
            _ = keys.add(signature, keyID: nil, for: .hs256)
        }
        if let path = configuration.jwksPath {
            try await keys.add(keySet: KeySetFile.read(path))
        }
        return keys
    }

    /// - Throws: for a secret that is too short or none.
    static func validateSecret(_ key: String) throws(AccessConfigurationError) {
        let setting = "FLOWHUB_JWT_KEY"
        // With a public key as the secret, everybody who has it could sign (RFC 8725, 2.1).
        guard !key.contains("-----BEGIN") else {
            throw AccessConfigurationError(
                setting,
                "this is a PEM file, not an HS256 secret",
                remedy: "Put public keys as a JSON Web Key Set into a file and name it in FLOWHUB_JWKS."
            )
        }
        guard key.utf8.count >= KeySetFile.minimumSecretBytes else {
            throw AccessConfigurationError(
                setting,
                "the secret has \(key.utf8.count) bytes and HS256 needs at least \(KeySetFile.minimumSecretBytes)",
                remedy: "Make one with: openssl rand -base64 48"
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
