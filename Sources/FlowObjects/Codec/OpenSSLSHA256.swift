import COpenSSL
import FlowCore

/// Incremental SHA-256 by OpenSSL, which uses the processor's SHA instructions.
final class OpenSSLSHA256: IncrementalHash {
    private let context: OpaquePointer

    init() {
        guard let context = EVP_MD_CTX_new(), EVP_DigestInit_ex(context, EVP_sha256(), nil) == 1 else {
            // Out of memory, or an OpenSSL build without SHA-256: no object can be stored.
            fatalError("OpenSSL cannot compute SHA-256")
        }
        self.context = context
    }

    deinit { EVP_MD_CTX_free(self.context) }

    /// Adds bytes to the hash.
    func update(_ bytes: UnsafeRawBufferPointer) { _ = EVP_DigestUpdate(self.context, bytes.baseAddress, bytes.count) }

    /// Ends the hash. Must be the last call.
    /// - Returns: the hash in hexadecimal.
    func finish() -> String {
        var digest = [UInt8](repeating: 0, count: 32)
        _ = EVP_DigestFinal_ex(self.context, &digest, nil)
        return digest.map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined()
    }
}
