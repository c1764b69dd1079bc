import FlowCore

/// AWS Signature Version 4 for S3 (AWS, "Authenticating Requests: Using the Authorization Header" and "Using Query
/// Parameters"). Pure functions of a request, a time and a key.
enum SigV4 {
    /// A time in the format of `x-amz-date`: `20260822T101530Z`.
    static func date(_ moment: Timestamp) -> String {
        moment.description.prefix(19).filter { $0 != "-" && $0 != ":" } + "Z"
    }

    /// The signing key of one day, region and secret.
    static func key(secret: String, day: String, region: String) -> [UInt8] {
        var key = Array("AWS4\(secret)".utf8)
        for part in [day, region, "s3", "aws4_request"] { key = Digest.hmacSHA256(key: key, part) }
        return key
    }

    /// Header fields of a request with an `Authorization` header, in addition to `host` and the request's own.
    static func addedHeaders(payloadHash: String, date: String, sessionToken: String?) -> [NamedValue] {
        var headers = [NamedValue("x-amz-content-sha256", payloadHash), NamedValue("x-amz-date", date)]
        if let sessionToken { headers.append(NamedValue("x-amz-security-token", sessionToken)) }
        return headers
    }

    /// Query parameters of a presigned URL, in addition to the request's own and the signature.
    /// - Parameters:
    ///   - credential: access key id and scope; see ``Signature/credential``.
    ///   - seconds: lifetime of the URL.
    static func addedQuery(
        credential: String, date: String, seconds: Int, sessionToken: String?, signedHeaders: String
    ) -> [NamedValue] {
        var query = [
            NamedValue("X-Amz-Algorithm", "AWS4-HMAC-SHA256"), NamedValue("X-Amz-Credential", credential),
            NamedValue("X-Amz-Date", date), NamedValue("X-Amz-Expires", "\(seconds)"),
            NamedValue("X-Amz-SignedHeaders", signedHeaders),
        ]
        if let sessionToken { query.append(NamedValue("X-Amz-Security-Token", sessionToken)) }
        return query
    }

    /// The path, percent-encoded except for slashes. An empty path becomes `/`.
    static func canonicalPath(_ path: String) -> String {
        path.isEmpty ? "/" : PercentEncoding.encode(path, keepingSlashes: true)
    }

    /// The query, percent-encoded and sorted by name, then by value. A parameter without a value keeps its `=`. The request
    /// must be sent with exactly this query, because the signature covers it.
    static func canonicalQuery(_ query: [NamedValue]) -> String {
        query.map { (PercentEncoding.encode($0.name), PercentEncoding.encode($0.value)) }
            .sorted { $0 < $1 }
            .map { "\($0)=\($1)" }.joined(separator: "&")
    }

    /// Header fields with lower-case names, sorted by name. Values are trimmed, and each run of spaces and tabs becomes one
    /// space. Fields with the same name become one field, with their values joined by commas.
    static func canonicalHeaders(_ headers: [NamedValue]) -> [(name: String, value: String)] {
        var values: [String: [String]] = [:]
        for header in headers {
            let words = header.value.split { $0 == " " || $0 == "\t" }
            values[header.name.lowercased(), default: []].append(words.joined(separator: " "))
        }
        return values.sorted { $0.key < $1.key }.map { ($0.key, $0.value.joined(separator: ",")) }
    }

    /// The names of the header fields in lower case, sorted and separated by semicolons.
    static func signedHeaders(_ headers: [NamedValue]) -> String {
        Self.canonicalHeaders(headers).map(\.name).joined(separator: ";")
    }

    /// Signs a request with the signing key of a day.
    /// - Parameters:
    ///   - request: the request with every header field and query parameter that the signature covers.
    ///   - date: the time in the format of ``date(_:)``.
    ///   - key: the signing key of that day; see ``key(secret:day:region:)``.
    static func sign(_ request: SignableRequest, date: String, accessKeyID: String, region: String, key: [UInt8]) -> Signature {
        let headers = Self.canonicalHeaders(request.headers)
        let signedHeaders = headers.map(\.name).joined(separator: ";")
        let canonicalRequest =
            "\(request.method)\n\(Self.canonicalPath(request.path))\n\(Self.canonicalQuery(request.query))\n"
            + headers.map { "\($0.name):\($0.value)\n" }.joined() + "\n\(signedHeaders)\n\(request.payloadHash)"
        let scope = "\(date.prefix(8))/\(region)/s3/aws4_request"
        let stringToSign = "AWS4-HMAC-SHA256\n\(date)\n\(scope)\n\(Digest.sha256(canonicalRequest).hexadecimal)"
        return Signature(
            canonicalRequest: canonicalRequest, stringToSign: stringToSign,
            signature: Digest.hmacSHA256(key: key, stringToSign).hexadecimal, signedHeaders: signedHeaders,
            credential: "\(accessKeyID)/\(scope)")
    }
}
