/// One request to R2's S3 interface, before it is signed. Each attempt signs the request anew, with the current time.
struct R2Request: Sendable {
    var method: TransportMethod
    /// Key of the object; `nil` if the request concerns the bucket.
    var key: String?
    var query: [NamedValue] = []
    var headers: [NamedValue] = []
    var body: [UInt8] = []
    /// SHA-256 of the body in hexadecimal.
    var payloadHash = SignableRequest.emptyPayload
    /// Whether the response body is read as it arrives.
    var isStreamed = false
    /// Maximum bytes of the response body, if it is not streamed.
    var replyLimit = 1_048_576
    /// Validates a 2xx response. Returns the reason why the response counts as a failure; `nil` if it is valid. Not called
    /// for a streamed response.
    var check: @Sendable (R2Reply) -> R2Failure.Reason? = { _ in nil }

    init(_ method: TransportMethod, key: String? = nil, query: [NamedValue] = [], headers: [NamedValue] = []) {
        self.method = method
        self.key = key
        self.query = query
        self.headers = headers
    }

    /// Sets the body, with its SHA-256 for the signature and its MD5 as a header field, so that R2 rejects changed
    /// bytes.
    mutating func setBody(_ bytes: [UInt8], md5: [UInt8]) {
        self.body = bytes
        self.payloadHash = Digest.sha256(bytes).hexadecimal
        self.headers.append(NamedValue("Content-MD5", md5.base64))
    }

    /// The header fields that the signature covers. A field that a proxy may change is not among them, because the
    /// signature would then be wrong.
    var signedHeaders: [NamedValue] {
        self.headers.filter { header in
            let name = header.name.lowercased()
            return name.hasPrefix("x-amz-")
                || ["content-type", "content-md5", "if-match", "if-none-match", "range"].contains(name)
        }
    }
}

/// A whole response of R2, with its body in memory.
struct R2Reply: Sendable {
    var head: TransportHead
    var body: [UInt8]
    /// Whether an earlier attempt of the request failed.
    var wasRetried = false

    /// The ETag without quotes; `nil` if the response has none.
    var etag: String? { self.head["etag"].map(R2Reply.bare) }

    /// An ETag without its quotes and, if it is weak, without the prefix `W/`.
    static func bare(_ etag: String) -> String {
        let strong = etag.hasPrefix("W/") ? etag.dropFirst(2) : etag[...]
        return String(strong.drop { $0 == "\"" }.reversed().drop { $0 == "\"" }.reversed())
    }
}
