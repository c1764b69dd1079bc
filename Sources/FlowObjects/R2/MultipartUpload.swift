import FlowCore

/// A multipart upload: an object that is uploaded in parts, which are combined at the end.
struct MultipartUpload: Sendable {
    /// A part that R2 has stored.
    struct Part: Hashable, Sendable {
        /// Number of the part in the object, from 1.
        let number: Int
        /// MD5 of the part's bytes; in hexadecimal it is the part's ETag.
        let md5: [UInt8]
    }

    let client: R2Client
    let key: String
    /// The upload id that R2 has assigned.
    let id: String
    /// Whether R2 may have a second multipart upload, without parts, created by an attempt whose reply with the id was lost.
    let mayHaveOrphanUpload: Bool

    /// Creates a multipart upload in R2.
    /// - Parameter headers: header fields with the attributes of the object.
    static func begin(_ client: R2Client, _ key: String, headers: [NamedValue]) async throws(R2Failure) -> MultipartUpload {
        var request = R2Request(.post, key: key, query: [NamedValue("uploads", "")], headers: headers)
        request.check = { Self.uploadID($0.body) == nil ? .invalidResponse : nil }
        let reply = try await client.call(request)
        guard let id = Self.uploadID(reply.body) else { throw R2Failure(.invalidResponse) }
        return MultipartUpload(client: client, key: key, id: id, mayHaveOrphanUpload: reply.wasRetried)
    }

    /// The upload id in the response to the creation; `nil` if the response is not valid.
    private static func uploadID(_ body: [UInt8]) -> String? {
        guard let root = XMLParser.parse(body), root.name == "InitiateMultipartUploadResult", let id = root.text("UploadId"),
            !id.isEmpty
        else { return nil }
        return id
    }

    /// Uploads a part, with retries until R2's ETag proves that R2 has stored exactly these bytes. A part replaces an
    /// earlier part with the same number.
    func put(_ bytes: [UInt8], number: Int) async throws(R2Failure) -> Part {
        let md5 = Digest.md5(bytes)
        let etag = md5.hexadecimal
        var request = R2Request(
            .put, key: self.key, query: [NamedValue("partNumber", "\(number)"), NamedValue("uploadId", self.id)])
        request.setBody(bytes, md5: md5)
        request.check = { $0.etag == etag ? nil : .contentMismatch }
        _ = try await self.client.observed(.part, bytes: bytes.count, request)
        return Part(number: number, md5: md5)
    }

    /// The ETag that R2 assigns to the combined object (Cloudflare, "Multipart upload").
    static func etag(_ parts: [Part]) -> String { "\(Digest.md5(parts.flatMap(\.md5)).hexadecimal)-\(parts.count)" }

    /// Combines the parts into one object. If an object exists under the key, R2 responds with status 412.
    func complete(_ parts: [Part]) async throws(R2Failure) -> R2Reply {
        var request = R2Request(
            .post, key: self.key, query: [NamedValue("uploadId", self.id)],
            headers: [NamedValue("Content-Type", "application/xml"), NamedValue("If-None-Match", "*")])
        let list = parts.map {
            XMLText.element(
                "Part",
                containing: [
                    XMLText.element("PartNumber", "\($0.number)"), XMLText.element("ETag", "\"\($0.md5.hexadecimal)\""),
                ])
        }
        request.body = Array(XMLText.element("CompleteMultipartUpload", containing: list).utf8)
        request.payloadHash = Digest.sha256(request.body).hexadecimal
        let etag = Self.etag(parts)
        request.check = { Self.verdict($0, expecting: etag) }
        return try await self.client.call(request)
    }

    /// Checks the body of the response to a completion: R2 sends status 200 before it has combined the parts, so only the
    /// body reports the outcome.
    /// - Returns: the reason of the failure; `nil` if the object was created with the expected ETag.
    private static func verdict(_ reply: R2Reply, expecting etag: String) -> R2Failure.Reason? {
        guard let root = XMLParser.parse(reply.body) else { return .invalidResponse }
        if root.name == "Error" {
            return .answer(status: reply.head.status, code: R2Client.errorCode(reply.body) ?? "InternalError")
        }
        guard root.name == "CompleteMultipartUploadResult", let reported = root.text("ETag") else { return .invalidResponse }
        return R2Reply.bare(reported) == etag ? nil : .contentMismatch
    }

    /// Aborts the multipart upload: R2 deletes its parts. A missing multipart upload is not an error.
    func abort() async throws(R2Failure) { try await self.client.abortUpload(self.key, self.id) }
}
