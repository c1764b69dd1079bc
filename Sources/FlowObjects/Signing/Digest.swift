import COpenSSL

/// Digests of bytes in memory, by OpenSSL.
enum Digest {
    /// SHA-256, 32 bytes.
    static func sha256(_ bytes: [UInt8]) -> [UInt8] { Self.digest(bytes, EVP_sha256(), count: 32) }

    /// SHA-256 of the text in UTF-8, 32 bytes.
    static func sha256(_ text: String) -> [UInt8] { Self.sha256(Array(text.utf8)) }

    /// MD5, 16 bytes. Not secure against an attacker; S3 uses it for ETags and `Content-MD5`.
    static func md5(_ bytes: [UInt8]) -> [UInt8] { Self.digest(bytes, EVP_md5(), count: 16) }

    /// HMAC-SHA-256 of the text in UTF-8, 32 bytes.
    static func hmacSHA256(key: [UInt8], _ text: String) -> [UInt8] {
        let message = Array(text.utf8)
        var code = [UInt8](repeating: 0, count: 32)
        var count: UInt32 = 0
        guard HMAC(EVP_sha256(), key, Int32(key.count), message, message.count, &code, &count) != nil, count == 32 else {
            // Out of memory, or an OpenSSL build without the algorithm: no request can be signed.
            fatalError("OpenSSL cannot compute HMAC-SHA-256")
        }
        return code
    }

    /// The digest of `count` bytes that an OpenSSL algorithm computes.
    private static func digest(_ bytes: [UInt8], _ algorithm: OpaquePointer?, count: Int) -> [UInt8] {
        var digest = [UInt8](repeating: 0, count: count)
        guard EVP_Digest(bytes, bytes.count, &digest, nil, algorithm, nil) == 1 else {
            // Out of memory, or an OpenSSL build without the algorithm: no object can be stored.
            fatalError("OpenSSL cannot compute a digest")
        }
        return digest
    }
}

extension [UInt8] {
    /// The bytes in hexadecimal, two lower-case digits per byte.
    var hexadecimal: String {
        let digits = Array("0123456789abcdef".utf8)
        var text: [UInt8] = []
        text.reserveCapacity(self.count * 2)
        for byte in self {
            text.append(digits[Int(byte >> 4)])
            text.append(digits[Int(byte & 15)])
        }
        return String(decoding: text, as: UTF8.self)
    }

    /// The bytes in Base64 with padding (RFC 4648, section 4).
    var base64: String {
        let digits = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
        var text: [UInt8] = []
        for start in stride(from: 0, to: self.count, by: 3) {
            let group = self[start..<Swift.min(start + 3, self.count)]
            let bits = group.reduce(0) { $0 << 8 | UInt32($1) } << UInt32(8 * (3 - group.count))
            for position in 0..<4 {
                text.append(position > group.count ? UInt8(ascii: "=") : digits[Int(bits >> UInt32(18 - 6 * position) & 63)])
            }
        }
        return String(decoding: text, as: UTF8.self)
    }
}
