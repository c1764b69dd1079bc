import FlowCore
import FoundationEssentials
import JWTKit

/// The file that `FLOWHUB_JWKS` names: a JSON Web Key Set (RFC 7517).
///
/// A key for another purpose or algorithm is passed over (RFC 7517, 5); one that is meant for the hub and broken stops the
/// start, since a key that is silently missing shows only when its tokens are refused. Private parts are never read.
enum KeySetFile {
    static let setting = "FLOWHUB_JWKS"
    static let maximumBytes = 1 << 20
    /// RFC 7518, 3.2: as long as the hash.
    static let minimumSecretBytes = 32

    static func error(_ problem: String, remedy: String) -> AccessConfigurationError {
        AccessConfigurationError(Self.setting, problem, remedy: remedy)
    }

    static func hmac(_ secret: [UInt8]) async -> TokenKeys.Signature? {
        guard secret.count >= Self.minimumSecretBytes else { return nil }
        return try? await JWTKeyCollection().add(hmac: HMACKey(from: secret), digestAlgorithm: .sha256).getKey()
    }

    static func read(_ path: String) throws(AccessConfigurationError) -> [Key] {
        guard let data = try? Data(contentsOf: URL(filePath: path)) else {
            throw Self.error("the file \(path) cannot be read", remedy: "Check that it exists and that the hub may read it.")
        }
        guard data.count <= Self.maximumBytes else {
            throw Self.error("the file \(path) is larger than 1 MiB", remedy: "Name a file that holds only the key set.")
        }
        guard let text = try? JSONText(validating: [UInt8](data)) else {
            throw Self.error("the file \(path) is not JSON", remedy: "Save what the issuer serves at its jwks_uri, as it is.")
        }
        guard let elements = TokenObject(text)?.array("keys") else {
            throw Self.error(
                "the file \(path) is not a key set",
                remedy: "It must be {\"keys\": [...]} (RFC 7517); put a single key into such an array."
            )
        }
        var keys: [Key] = []
        for (index, element) in elements.enumerated() {
            guard let object = TokenObject(element) else {
                throw Self.error("key \(index + 1) is not an object", remedy: "Each entry of keys must be a JSON Web Key.")
            }
            if let key = try Key(object, position: index + 1) { keys.append(key) }
        }
        guard !keys.isEmpty else {
            throw Self.error(
                "the file \(path) has no key that the hub can use",
                remedy: "It needs one for signatures with RS256, ES256 (P-256), EdDSA (Ed25519) or HS256."
            )
        }
        return keys
    }
}

extension KeySetFile {
    /// One usable key of the set.
    struct Key {
        let keyID: String?
        let algorithm: TokenAlgorithm
        private let object: TokenObject
        /// Counted from 1, for messages.
        private let position: Int

        /// - Returns: `nil` if the key is for something that the hub does not do.
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
                // Without alg a secret would say of itself nothing that keeps it from another use.
                guard object.has("alg") else {
                    throw KeySetFile.error(
                        "key \(position) is a secret without alg",
                        remedy: "Add \"alg\": \"HS256\" if it is meant for tokens, or take it out."
                    )
                }
                algorithm = .hs256
            default: return nil
            }
            // A key with another alg is for that one alone (RFC 7517, 4.4); one without is for the family's member here.
            if object.has("alg"), object.string("alg") != algorithm.rawValue { return nil }
            if object.has("kid"), object.string("kid") == nil {
                throw KeySetFile.error("the kid of key \(position) is not a string", remedy: "Make it a string.")
            }
            self.keyID = object.string("kid")
            self.algorithm = algorithm
            self.object = object
            self.position = position
        }

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
                    "key \(self.position) (\(self.algorithm.rawValue)) is broken or too weak",
                    remedy: "RSA needs at least 2048 bits and HS256 at least 32 bytes; take the key as its issuer serves it."
                )
            }
            return signature
        }

        private func secret() async -> TokenKeys.Signature? {
            guard let text = self.part("k"), let bytes = Base64URL.decode(text.utf8) else { return nil }
            return await KeySetFile.hmac(bytes)
        }

        private func part(_ name: String) -> String? { self.object.string(name) }

        private static func signature(_ key: JWK) async -> TokenKeys.Signature? {
            try? await JWTKeyCollection().add(jwk: key).getKey()
        }
    }
}
