/// One request to R2's S3 interface, before it is signed. The same value is signed anew for each attempt.
struct R2Request: Sendable {
    var method: TransportMethod
    /// `nil`: it is about the bucket.
    var key: String?
    var query: [NamedValue] = []
    var headers: [NamedValue] = []
    var body: [UInt8] = []
    /// SHA-256 of the body in hexadecimal.
    var payloadHash = SignableRequest.emptyPayload
    var isStreamed = false
    /// Bytes of an answer that is not streamed.
    var replyLimit = 1_048_576
    /// Whether a 2xx answer is what it says. Not asked when it is streamed.
    var check: @Sendable (R2Reply) -> R2Failure.Reason? = { _ in nil }

    init(_ method: TransportMethod, key: String? = nil, query: [NamedValue] = [], headers: [NamedValue] = []) {
        self.method = method
        self.key = key
        self.query = query
        self.headers = headers
    }

    /// Signs the body's hash, and sends its MD5 along: the bytes arrive as they are here, or not at all.
    mutating func setBody(_ bytes: [UInt8], md5: [UInt8]) {
        self.body = bytes
        self.payloadHash = Digest.sha256(bytes).hexadecimal
        self.headers.append(NamedValue("Content-MD5", md5.base64))
    }

    /// What the signature covers: nothing that a proxy may change on the way.
    var signedHeaders: [NamedValue] {
        self.headers.filter { header in
            let name = header.name.lowercased()
            return name.hasPrefix("x-amz-")
                || ["content-type", "content-md5", "if-match", "if-none-match", "range"].contains(name)
        }
    }
}

/// A whole answer.
struct R2Reply: Sendable {
    var head: TransportHead
    var body: [UInt8]
    /// Whether the request was made before, and failed.
    var wasRetried = false

    /// Without quotes.
    var etag: String? { self.head["etag"].map(R2Reply.bare) }

    /// An ETag without quotes and without the mark of a weak one.
    static func bare(_ etag: String) -> String {
        let strong = etag.hasPrefix("W/") ? etag.dropFirst(2) : etag[...]
        return String(strong.drop { $0 == "\"" }.reversed().drop { $0 == "\"" }.reversed())
    }
}
