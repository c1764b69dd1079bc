import FlowCore
import FoundationEssentials
import JWTKit

/// The file that `FLOWHUB_JWKS` names: a JSON Web Key Set (RFC 7517).
///
/// A key is ignored if it is not for verification or not for an algorithm of ``TokenAlgorithm`` (RFC 7517, 5). An invalid key
/// that is meant for the hub keeps the hub from starting: otherwise the mistake would only show when tokens signed with that
/// key are rejected. The private parts of asymmetric keys are never read.
enum KeySetFile {
    static let setting = "FLOWHUB_JWKS"
    /// Maximum size of the file.
    static let maximumBytes = 1 << 20
    /// Minimum length of an HS256 secret in bytes: the length of the hash (RFC 7518, 3.2).
    static let minimumSecretBytes = 32

    /// An ``AccessConfigurationError`` for ``setting``.
    static func error(_ problem: String, remedy: String) -> AccessConfigurationError {
        AccessConfigurationError(Self.setting, problem, remedy: remedy)
    }

    /// jwt-kit's implementation of HS256 with a secret as its key; `nil` if the secret is shorter than ``minimumSecretBytes``.
    static func hmac(_ secret: [UInt8]) async -> TokenKeys.Signature? {
        guard secret.count >= Self.minimumSecretBytes else { return nil }
        return try? await JWTKeyCollection().add(hmac: HMACKey(from: secret), digestAlgorithm: .sha256).getKey()
    }

    /// Reads the usable keys of the file.
    /// - Parameter mayBeEmpty: whether a key set without a usable key is valid: all its keys were withdrawn.
    /// - Throws: ``AccessConfigurationError`` if the file cannot be read, is not a key set, has no usable key or an invalid
    ///   one.
    static func read(_ path: String, mayBeEmpty: Bool) throws(AccessConfigurationError) -> [Key] {
        guard let data = try? Data(contentsOf: URL(filePath: path)) else {
            throw Self.error(
                "the file \(path) cannot be read", remedy: "Check that it exists and that the hub's user can read it.")
        }
        guard data.count <= Self.maximumBytes else {
            throw Self.error("the file \(path) is larger than 1 MiB", remedy: "The file must contain only the key set.")
        }
        guard let text = try? JSONText(validating: JSONText.withoutByteOrderMark([UInt8](data))) else {
            throw Self.error("the file \(path) is not JSON", remedy: "Save the document at the issuer's jwks_uri unchanged.")
        }
        guard let elements = TokenObject(text)?.array("keys") else {
            throw Self.error(
                "the file \(path) is not a key set",
                remedy: "The file must be {\"keys\": [...]} (RFC 7517); put a single key into such an array."
            )
        }
        var keys: [Key] = []
        for (index, element) in elements.enumerated() {
            guard let object = TokenObject(element) else {
                throw Self.error("key \(index + 1) is not a JSON object", remedy: "Each entry of keys must be a JSON Web Key.")
            }
            if let key = try Key(object, position: index + 1) { keys.append(key) }
        }
        guard mayBeEmpty || !keys.isEmpty else {
            throw Self.error(
                "the file \(path) has no usable key",
                remedy: "Add a signature key for RS256, ES256 (P-256), EdDSA (Ed25519) or HS256."
            )
        }
        return keys
    }
}

extension KeySetFile {
    /// One usable key of the set.
    struct Key {
        /// `kid`; `nil` if the key has none.
        let keyID: String?
        let algorithm: TokenAlgorithm
        private let object: TokenObject
        /// The key's place in the set, from 1, for error messages.
        private let position: Int

        /// Reads a key of the set.
        /// - Returns: `nil` if the key is not for verification or not for an algorithm of ``TokenAlgorithm``.
        /// - Throws: ``AccessConfigurationError`` if the key is meant for the hub and is invalid.
        init?(_ object: TokenObject, position: Int) throws(AccessConfigurationError) {
            if object.has("use"), object.string("use") != "sig" { return nil }
            if let operations = object.array("key_ops"), !operations.contains(where: { $0.stringValue == "verify" }) {
                return nil
            }
            let algorithm: TokenAlgorithm
            switch (object.string("kty"), object.string("crv")) {
            case ("RSA", _): algorithm = .rs256
            case ("EC", "P-256"): algorithm = .es256
            case ("OKP", "Ed25519"): algorithm = .edDSA
            case ("oct", _):
                // Without alg nothing would show that the secret is meant for tokens and not for another use.
                guard object.has("alg") else {
                    throw KeySetFile.error(
                        "key \(position) (a secret) has no alg",
                        remedy: "Add \"alg\": \"HS256\" if it is meant for tokens, or remove it."
                    )
                }
                algorithm = .hs256
            default: return nil
            }
            // A key with `alg` is for that algorithm only (RFC 7517, 4.4); without, for the one that follows from `kty` and
            // `crv`.
            if object.has("alg"), object.string("alg") != algorithm.rawValue { return nil }
            if object.has("kid"), object.string("kid") == nil {
                throw KeySetFile.error("the kid of key \(position) is not a string", remedy: "Make the kid a string.")
            }
            self.keyID = object.string("kid")
            self.algorithm = algorithm
            self.object = object
            self.position = position
        }

        /// The key as jwt-kit's implementation of its algorithm.
        /// - Throws: ``AccessConfigurationError`` if the key is invalid or too weak.
        func signature() async throws(AccessConfigurationError) -> TokenKeys.Signature {
            let signature: TokenKeys.Signature? =
                switch self.algorithm {
                case .hs256: await self.secret()
                case .rs256:
                    await Self.signature(
                        .rsa(.rs256, identifier: "", modulus: self.part("n"), exponent: self.part("e"))
                    )
                case .es256:
                    await Self.signature(.ecdsa(.es256, identifier: "", x: self.part("x"), y: self.part("y"), curve: .p256))
                case .edDSA:
                    await Self.signature(.octetKeyPair(.eddsa, identifier: "", x: self.part("x"), y: nil, curve: .ed25519))
                }
            guard let signature else {
                throw KeySetFile.error(
                    "key \(self.position) (\(self.algorithm.rawValue)) is invalid or too weak",
                    remedy: "RSA needs at least 2048 bits and HS256 at least 32 bytes; copy the key from its issuer unchanged."
                )
            }
            return signature
        }

        /// jwt-kit's implementation of HS256 with the secret in the key's member `k`; `nil` if `k` is missing, not base64url or
        /// shorter than 32 bytes.
        private func secret() async -> TokenKeys.Signature? {
            guard let text = self.part("k"), let bytes = Base64URL.decode(text.utf8) else { return nil }
            return await KeySetFile.hmac(bytes)
        }

        /// A string member of the key, such as `n` or `x`; `nil` if it is missing or not a string.
        private func part(_ name: String) -> String? { self.object.string(name) }

        /// jwt-kit's implementation of signature verification with a public key; `nil` if jwt-kit rejects the key.
        private static func signature(_ key: JWK) async -> TokenKeys.Signature? {
            try? await JWTKeyCollection().add(jwk: key).getKey()
        }
    }
}
