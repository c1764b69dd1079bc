/// The decoded parts of a token (RFC 7515, 7.1): three non-empty base64url texts.
struct TokenParts {
    let header: [UInt8]
    let payload: [UInt8]
    let signature: [UInt8]
    /// The signed text: the first two parts and the dot between them, as received.
    let signedBytes: ArraySlice<UInt8>

    /// Splits a token and decodes its parts.
    /// - Throws: ``AccessError`` `token_invalid` if the token is longer than `maximumBytes` or not in this form.
    init(_ token: String, maximumBytes: Int) throws(AccessError) {
        guard token.utf8.count <= maximumBytes else {
            throw .tokenInvalid(
                "the token is too long", seen: "\(token.utf8.count) bytes",
                remedy: "Issue tokens with fewer claims, or raise FLOWHUB_JWT_MAX_BYTES.")
        }
        let bytes = Array(token.utf8)
        let parts = bytes.split(separator: UInt8(ascii: "."), maxSplits: 3, omittingEmptySubsequences: false)
        guard parts.count == 3, parts.allSatisfy({ !$0.isEmpty }) else {
            throw .tokenInvalid(
                "the token does not have three non-empty parts", seen: "\(parts.count) parts",
                remedy: "Send a signed JWT, header.payload.signature, complete and without quotes.")
        }
        guard let header = Base64URL.decode(parts[0]), let payload = Base64URL.decode(parts[1]),
            let signature = Base64URL.decode(parts[2])
        else {
            throw .tokenInvalid(
                "a part of the token is not base64url",
                remedy: "Send the token as it was issued: something cut it off or encoded it again.")
        }
        self.header = header
        self.payload = payload
        self.signature = signature
        self.signedBytes = bytes[..<parts[1].endIndex]
    }
}
