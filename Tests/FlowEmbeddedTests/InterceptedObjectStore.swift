import FlowCore
import FlowEmbedded

/// A folder store whose uploads a test can replace.
struct InterceptedObjectStore: ObjectStore {
    let inner: FolderObjectStore
    var makeUpload: @Sendable (FolderObjectStore, String, ObjectAttributes) async throws(ObjectError) -> any ObjectUpload = {
        inner, key, attributes throws(ObjectError) in try await inner.upload(key, attributes)
    }
    /// Decides before a deletion whether it fails.
    var failure: @Sendable (String) -> ObjectError? = { _ in nil }

    var provider: String { self.inner.provider }
    var bucket: String { self.inner.bucket }

    func upload(_ key: String, _ attributes: ObjectAttributes) async throws(ObjectError) -> any ObjectUpload {
        try await self.makeUpload(self.inner, key, attributes)
    }

    func download(_ key: String, range: Range<Int>?) async throws(ObjectError) -> any ObjectDownload {
        try await self.inner.download(key, range: range)
    }

    func head(_ key: String) async throws(ObjectError) -> ObjectInfo? { try await self.inner.head(key) }

    func delete(_ key: String) async throws(ObjectError) {
        if let failure = self.failure(key) { throw failure }
        try await self.inner.delete(key)
    }

    func list(prefix: String, after: String?, limit: Int) async throws(ObjectError) -> ObjectList {
        try await self.inner.list(prefix: prefix, after: after, limit: limit)
    }

    func presign(_ key: String, seconds: Int, fileName: String) throws(ObjectError) -> String? {
        try self.inner.presign(key, seconds: seconds, fileName: fileName)
    }
}
