import FlowCore

/// What R2 says of an object in the head of an answer.
struct ObjectHead: Sendable {
    var info: ObjectInfo
    /// Which upload wrote it, where it was one of the hub's; see ``R2Upload``.
    var uploadMarker: String?

    /// Of a whole object's head.
    /// - Returns: `nil` if it lacks its size or its ETag.
    init?(_ key: String, _ head: TransportHead) {
        guard let size = head["content-length"].flatMap({ Int($0) }), size >= 0 else { return nil }
        self.init(key, head, size: size)
    }

    /// - Parameter size: of the whole object.
    init?(_ key: String, _ head: TransportHead, size: Int) {
        guard let etag = head["etag"].map(R2Reply.bare), !etag.isEmpty else { return nil }
        self.info = ObjectInfo(
            key: key, size: size, etag: etag,
            lastModified: head["last-modified"].flatMap(ServerTime.http) ?? Timestamp(milliseconds: 0),
            storageClass: head["x-amz-storage-class"] ?? "STANDARD")
        self.uploadMarker = head["x-amz-meta-\(Self.uploadMarkerName)"]
    }

    static let uploadMarkerName = "flowhub-upload"
}

extension R2Client {
    /// - Returns: `nil` if there is none.
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

    /// That there is none is no failure.
    func delete(_ key: String) async throws(R2Failure) {
        do throws(R2Failure) {
            _ = try await self.observed(.delete, R2Request(.delete, key: key))
        } catch {
            if !error.isMissingObject { throw error }
        }
    }

    /// That it is gone already is no failure.
    func abortUpload(_ key: String, _ uploadID: String) async throws(R2Failure) {
        do throws(R2Failure) {
            _ = try await self.observed(.abort, R2Request(.delete, key: key, query: [NamedValue("uploadId", uploadID)]))
        } catch {
            guard error.status == 404, error.code != "NoSuchBucket" else { throw error }
        }
    }
}
