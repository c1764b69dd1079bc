/// One member of a query or one header field, as it is meant: not encoded.
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
    /// With the port, if it is not the scheme's own.
    var host: String
    /// Not encoded, and taken as it is: no `..` is resolved and no slash dropped.
    var path: String
    var query: [NamedValue] = []
    /// To be signed beside `host` and what the signer adds itself. Names in any case; a repeated one is sent as it is and
    /// signed as one.
    var headers: [NamedValue] = []
    /// SHA-256 of the body in hexadecimal, or ``unsignedPayload``.
    var payloadHash: String = Self.unsignedPayload

    static let unsignedPayload = "UNSIGNED-PAYLOAD"
    static let emptyPayload = Digest.sha256([]).hexadecimal
}

/// A signature with what it was made of, which is what one looks at when a server disagrees.
struct Signature: Hashable, Sendable {
    var canonicalRequest: String
    var stringToSign: String
    /// In hexadecimal.
    var signature: String
    /// Names in order, separated by semicolons.
    var signedHeaders: String
    /// `ACCESSKEY/date/region/s3/aws4_request`
    var credential: String

    var authorization: String {
        "AWS4-HMAC-SHA256 Credential=\(self.credential), SignedHeaders=\(self.signedHeaders), Signature=\(self.signature)"
    }
}
