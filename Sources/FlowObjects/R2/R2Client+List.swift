import FlowCore

extension R2Client {
    /// Maximum number of objects in one S3 list page.
    private static let pageObjects = 1_000
    /// Maximum bytes of an S3 list page. A key of 1,024 bytes may have 3,072 bytes when percent-encoded, and each of up to
    /// 1,000 entries has about 300 further bytes.
    private static let pageBytes = 8_388_608

    /// Lists up to `limit` objects whose keys start with `prefix` and are above `after`, if given, in the byte order of their
    /// keys.
    func list(prefix: String, after: String?, limit: Int) async throws(R2Failure) -> ObjectList {
        var objects: [ObjectInfo] = []
        var token: String?
        while true {
            var query = [
                NamedValue("list-type", "2"), NamedValue("encoding-type", "url"), NamedValue("prefix", prefix),
                NamedValue("max-keys", "\(min(limit - objects.count, Self.pageObjects))"),
            ]
            if let token { query.append(NamedValue("continuation-token", token)) }
            if token == nil, let after { query.append(NamedValue("start-after", after)) }
            let root = try await self.page(.list, query, root: "ListBucketResult")
            for entry in root.all("Contents") {
                guard let object = self.object(entry, isEncoded: root.text("EncodingType") == "url") else {
                    throw R2Failure(.invalidResponse)
                }
                objects.append(object)
            }
            let hasMore = root.text("IsTruncated") == "true"
            guard hasMore, objects.count < limit else { return ObjectList(objects: objects, hasMore: hasMore) }
            guard let next = root.text("NextContinuationToken"), !next.isEmpty, next != token else {
                throw R2Failure(.invalidResponse)
            }
            token = next
        }
    }

    /// Reads an entry of a list page; `nil` if it is invalid.
    /// - Parameter isEncoded: whether the key is percent-encoded.
    private func object(_ entry: S3XMLElement, isEncoded: Bool) -> ObjectInfo? {
        guard let key = self.key(entry, isEncoded: isEncoded), let size = entry.text("Size").flatMap({ Int($0) }),
            let etag = entry.text("ETag"), let modified = entry.text("LastModified").flatMap(ServerTime.iso)
        else { return nil }
        return ObjectInfo(
            key: key, size: size, etag: R2Reply.bare(etag), lastModified: modified,
            storageClass: entry.text("StorageClass") ?? "STANDARD")
    }

    /// The key in an entry of a list page; `nil` if it is missing or invalid.
    private func key(_ entry: S3XMLElement, isEncoded: Bool) -> String? {
        entry.text("Key").flatMap { Self.decoded($0, isEncoded: isEncoded) }
    }

    /// A key in a list page; `nil` if it is invalid. With `encoding-type=url` a plus in it is a space.
    private static func decoded(_ text: String, isEncoded: Bool) -> String? {
        isEncoded ? PercentDecoding.decode(text[...], plusIsSpace: true) : text
    }

    /// Lists all unfinished uploads under a prefix.
    func unfinishedUploads(prefix: String) async throws(R2Failure) -> [UnfinishedUpload] {
        var uploads: [UnfinishedUpload] = []
        var marker: (key: String, id: String)?
        while true {
            var query = [NamedValue("uploads", ""), NamedValue("encoding-type", "url"), NamedValue("prefix", prefix)]
            if let marker { query += [NamedValue("key-marker", marker.key), NamedValue("upload-id-marker", marker.id)] }
            let root = try await self.page(.uploads, query, root: "ListMultipartUploadsResult")
            let isEncoded = root.text("EncodingType") == "url"
            for entry in root.all("Upload") {
                guard let key = self.key(entry, isEncoded: isEncoded), let id = entry.text("UploadId"),
                    let initiated = entry.text("Initiated").flatMap(ServerTime.iso)
                else { throw R2Failure(.invalidResponse) }
                uploads.append(UnfinishedUpload(key: key, uploadID: id, initiatedAt: initiated))
            }
            guard root.text("IsTruncated") == "true" else { return uploads }
            guard let text = root.text("NextKeyMarker"), let key = Self.decoded(text, isEncoded: isEncoded),
                let id = root.text("NextUploadIdMarker"), marker.map({ $0 != (key, id) }) ?? true
            else { throw R2Failure(.invalidResponse) }
            marker = (key, id)
        }
    }

    /// Requests one S3 list page.
    /// - Parameter root: the name that the root element of the response must have.
    private func page(
        _ name: R2Operation.Name, _ query: [NamedValue], root: String
    ) async throws(R2Failure) -> S3XMLElement {
        var request = R2Request(.get, query: query)
        request.replyLimit = Self.pageBytes
        guard let page = XMLParser.parse(try await self.observed(name, request).body), page.name == root else {
            throw R2Failure(.invalidResponse)
        }
        return page
    }
}
