/// A query parameter or a header field, not encoded.
struct NamedValue: Hashable, Sendable {
    var name: String
    var value: String

    init(_ name: String, _ value: String) {
        self.name = name
        self.value = value
    }
}

/// The part of a request that a signature covers.
struct SignableRequest: Hashable, Sendable {
    var method: String
    /// Host with the port, unless it is the scheme's default.
    var host: String
    /// Path, not encoded. It is used unchanged: no `..` is resolved and no slash dropped.
    var path: String
    var query: [NamedValue] = []
    /// Header fields to sign in addition to `host` and those that the signer adds. Names may be in any case. Fields with
    /// the same name are signed as one field, with their values joined by commas.
    var headers: [NamedValue] = []
    /// SHA-256 of the body in hexadecimal, or ``unsignedPayload``.
    var payloadHash: String = Self.unsignedPayload

    /// Payload hash of a request whose signature does not cover the body.
    static let unsignedPayload = "UNSIGNED-PAYLOAD"
    /// Payload hash of a request without a body.
    static let emptyPayload = Digest.sha256([]).hexadecimal
}

/// A signature with its inputs, for comparison when a server disagrees.
struct Signature: Hashable, Sendable {
    var canonicalRequest: String
    var stringToSign: String
    /// The signature in hexadecimal.
    var signature: String
    /// Names of the signed header fields in order, separated by semicolons.
    var signedHeaders: String
    /// Access key id and scope: `ACCESSKEY/date/region/s3/aws4_request`.
    var credential: String

    /// The value of the `Authorization` header field.
    var authorization: String {
        "AWS4-HMAC-SHA256 Credential=\(self.credential), SignedHeaders=\(self.signedHeaders), Signature=\(self.signature)"
    }
}
