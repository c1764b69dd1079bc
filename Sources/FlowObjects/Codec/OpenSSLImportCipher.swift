import COpenSSL
public import FlowCore

/// ``ImportCipher`` by OpenSSL, which uses the processor's AES instructions.
public struct OpenSSLImportCipher: ImportCipher {
    private static let tagBytes = 16

    public init() {}

    /// Random bytes by OpenSSL's generator, which the system seeds.
    public func randomBytes(_ count: Int) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        // Without random bytes a nonce could be used twice, which breaks AES-GCM: nothing may be encrypted.
        guard RAND_bytes(&bytes, Int32(count)) == 1 else { fatalError("OpenSSL has no random bytes") }
        return bytes
    }

    /// HKDF with SHA-256 (RFC 5869).
    public func derive(_ count: Int, from secret: [UInt8], salt: [UInt8], info: [UInt8]) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        var length = count
        guard let context = EVP_PKEY_CTX_new_id(EVP_PKEY_HKDF, nil) else { Self.fail() }
        defer { EVP_PKEY_CTX_free(context) }
        guard EVP_PKEY_derive_init(context) == 1, EVP_PKEY_CTX_set_hkdf_md(context, EVP_sha256()) == 1,
            EVP_PKEY_CTX_set1_hkdf_salt(context, salt, Int32(salt.count)) == 1,
            EVP_PKEY_CTX_set1_hkdf_key(context, secret, Int32(secret.count)) == 1,
            EVP_PKEY_CTX_add1_hkdf_info(context, info, Int32(info.count)) == 1,
            EVP_PKEY_derive(context, &bytes, &length) == 1, length == count
        else { Self.fail() }
        return bytes
    }

    /// Encrypts with AES-256-GCM.
    /// - Returns: the encrypted bytes, followed by the tag.
    public func seal(_ bytes: [UInt8], key: [UInt8], nonce: [UInt8], associatedData: [UInt8]) -> [UInt8] {
        precondition(key.count == 32 && nonce.count == 12)
        guard let context = EVP_CIPHER_CTX_new() else { Self.fail() }
        defer { EVP_CIPHER_CTX_free(context) }
        return [UInt8](unsafeUninitializedCapacity: bytes.count + Self.tagBytes) { output, count in
            var (length, end) = (Int32(0), Int32(0))
            guard EVP_EncryptInit_ex(context, EVP_aes_256_gcm(), nil, key, nonce) == 1,
                EVP_EncryptUpdate(context, nil, &length, associatedData, Int32(associatedData.count)) == 1,
                EVP_EncryptUpdate(context, output.baseAddress, &length, bytes, Int32(bytes.count)) == 1,
                EVP_EncryptFinal_ex(context, output.baseAddress?.advanced(by: Int(length)), &end) == 1,
                EVP_CIPHER_CTX_ctrl(
                    context, EVP_CTRL_GCM_GET_TAG, Int32(Self.tagBytes), output.baseAddress?.advanced(by: bytes.count)) == 1
            else { Self.fail() }
            count = bytes.count + Self.tagBytes
        }
    }

    /// Decrypts what ``seal(_:key:nonce:associatedData:)`` returned; `nil` if anything differs.
    public func open(_ sealed: [UInt8], key: [UInt8], nonce: [UInt8], associatedData: [UInt8]) -> [UInt8]? {
        precondition(key.count == 32 && nonce.count == 12)
        guard sealed.count >= Self.tagBytes else { return nil }
        let size = sealed.count - Self.tagBytes
        var tag = Array(sealed[size...])
        guard let context = EVP_CIPHER_CTX_new() else { Self.fail() }
        defer { EVP_CIPHER_CTX_free(context) }
        var isAuthentic = false
        let bytes = [UInt8](unsafeUninitializedCapacity: size) { output, count in
            var (length, end) = (Int32(0), Int32(0))
            guard EVP_DecryptInit_ex(context, EVP_aes_256_gcm(), nil, key, nonce) == 1,
                EVP_DecryptUpdate(context, nil, &length, associatedData, Int32(associatedData.count)) == 1,
                EVP_DecryptUpdate(context, output.baseAddress, &length, sealed, Int32(size)) == 1,
                EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_GCM_SET_TAG, Int32(Self.tagBytes), &tag) == 1
            else { Self.fail() }
            isAuthentic = EVP_DecryptFinal_ex(context, output.baseAddress?.advanced(by: Int(length)), &end) == 1
            count = size
        }
        return isAuthentic ? bytes : nil
    }

    /// Ends the process: out of memory, or an OpenSSL build without the algorithm. Nothing can be encrypted then.
    private static func fail() -> Never { fatalError("OpenSSL cannot encrypt with AES-256-GCM") }
}
