import FlowCore

/// Attributes of an object from a response head.
struct ObjectHead: Sendable {
    var info: ObjectInfo
    /// The upload marker of the ``R2Upload`` that wrote the object; `nil` if the object has none.
    var uploadMarker: String?

    /// Reads the attributes from the head of a response to a request for a whole object.
    /// - Returns: `nil` if the size or the ETag is missing.
    init?(_ key: String, _ head: TransportHead) {
        guard let size = head["content-length"].flatMap({ Int($0) }), size >= 0 else { return nil }
        self.init(key, head, size: size)
    }

    /// Reads the attributes from the head of a response whose `Content-Length` may be that of a range.
    /// - Parameter size: size of the whole object in bytes.
    /// - Returns: `nil` if the ETag is missing.
    init?(_ key: String, _ head: TransportHead, size: Int) {
        guard let etag = head["etag"].map(R2Reply.bare), !etag.isEmpty else { return nil }
        self.info = ObjectInfo(
            key: key, size: size, etag: etag,
            lastModified: head["last-modified"].flatMap(ServerTime.http) ?? Timestamp(milliseconds: 0),
            storageClass: head["x-amz-storage-class"] ?? "STANDARD")
        self.uploadMarker = head["x-amz-meta-\(Self.uploadMarkerName)"]
    }

    /// Name of the metadata with the upload marker, without the prefix `x-amz-meta-`.
    static let uploadMarkerName = "flowhub-upload"
}

extension R2Client {
    /// Reads the attributes of an object.
    /// - Returns: `nil` if the object does not exist.
    func head(_ key: String) async throws(R2Failure) -> ObjectHead? {
        do throws(R2Failure) {
            let reply = try await self.observed(.head, R2Request(.head, key: key))
            guard let head = ObjectHead(key, reply.head) else { throw R2Failure(.invalidResponse) }
            return head
        } catch {
            if error.isMissingObject { return nil }
            throw error
        }
    }

    /// Deletes an object. A missing object is not an error.
    func delete(_ key: String) async throws(R2Failure) {
        do throws(R2Failure) {
            _ = try await self.observed(.delete, R2Request(.delete, key: key))
        } catch {
            if !error.isMissingObject { throw error }
        }
    }

    /// Aborts a multipart upload. A missing multipart upload is not an error.
    func abortUpload(_ key: String, _ uploadID: String) async throws(R2Failure) {
        do throws(R2Failure) {
            _ = try await self.observed(.abort, R2Request(.delete, key: key, query: [NamedValue("uploadId", uploadID)]))
        } catch {
            guard error.status == 404, error.code != "NoSuchBucket" else { throw error }
        }
    }
}
