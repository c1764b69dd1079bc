/// The port for objects: immutable bytes under keys, each visible completely or not at all. R2 and a directory implement it;
/// one contract suite runs on both. Safe to use from any task.
///
/// Keys are paths that the hub makes: segments of `A-Za-z0-9_.:-`, separated by slashes, at most 1,024 bytes in total, and no
/// segment `.` or `..`. Any other key is rejected with ``ObjectError/invalid(_:)``.
public protocol ObjectStore: Sendable {
    /// The provider in the import ledger: `r2` or `folder`.
    var provider: String { get }
    /// The name of the bucket; for a directory, the last component of its path.
    var bucket: String { get }

    /// Starts to write an object under an unused key. The object is not visible before ``ObjectUpload/finish()``.
    func upload(_ key: String, _ attributes: ObjectAttributes) async throws(ObjectError) -> any ObjectUpload

    /// Opens an object, or a byte range of it, for reading.
    /// - Parameter range: the bytes to read, clamped to the object's end; `nil` for all. A range that is empty or starts at or
    ///   after the object's end is ``ObjectError/invalid(_:)``.
    func download(_ key: String, range: Range<Int>?) async throws(ObjectError) -> any ObjectDownload

    /// The attributes of an object.
    /// - Returns: `nil` if there is no object under the key.
    func head(_ key: String) async throws(ObjectError) -> ObjectInfo?

    /// Deletes an object permanently. A missing object is not an error.
    func delete(_ key: String) async throws(ObjectError)

    /// The objects whose keys start with `prefix` and are above `after`, in byte order of the keys; from the first key on if
    /// `after` is `nil`.
    func list(prefix: String, after: String?, limit: Int) async throws(ObjectError) -> ObjectList

    /// Makes a download link: a presigned URL with which any client can read the object without a token, until it expires.
    /// - Parameters:
    ///   - seconds: the lifetime of the link, 1 to 604,800.
    ///   - fileName: the name under which a browser saves the file.
    /// - Returns: `nil` if the store does not support download links.
    func presign(_ key: String, seconds: Int, fileName: String) throws(ObjectError) -> String?
}

/// The writing of one object. It must be used by one task only.
public protocol ObjectUpload: Sendable {
    /// Appends bytes to the object. Waits while as many parts of the multipart upload are in flight as the store allows.
    func write(_ bytes: [UInt8]) async throws(ObjectError)

    /// Adds metadata that is known only after all bytes were written, before ``finish()``. It is kept if the store writes
    /// object and metadata with one request, which is the case for small objects; else it has no effect, because the
    /// metadata was sent before the bytes and cannot be changed afterwards.
    func describe(_ metadata: [String: String]) async

    /// Completes the object and makes it visible, after it was verified against the bytes written.
    /// - Throws: ``ObjectError/exists`` if another object has the key; nothing of this upload remains then. After any
    ///   other error the object may or may not exist: call ``abort()``, then check.
    func finish() async throws(ObjectError) -> ObjectInfo

    /// Discards the object, as far as the store is available. Has no effect after ``finish()`` has returned.
    /// - Returns: whether it is certain that nothing remains of an unfinished object. If not, the import sweep must look for
    ///   remains later.
    @discardableResult
    func abort() async -> Bool
}

extension ObjectUpload {
    public func describe(_ metadata: [String: String]) async {}
}

/// The reading of one object. It must be used by one task only. Releasing the last reference to it ends the download.
public protocol ObjectDownload: Sendable {
    /// The attributes of the whole object, even if a range of it is read.
    var info: ObjectInfo { get }

    /// The next bytes of the requested range; `nil` when all of them have been read.
    /// - Throws: ``ObjectError/corrupted(_:)`` if the store sends fewer bytes than it announced, among other errors.
    func next() async throws(ObjectError) -> [UInt8]?
}

/// The attributes that the store keeps with an object's bytes.
public struct ObjectAttributes: Hashable, Sendable {
    public var contentType: String
    /// Names consist of `a-z0-9_-`, values of printable ASCII; at most 2,048 bytes in total.
    public var metadata: [String: String]

    public init(contentType: String = "application/gzip", metadata: [String: String] = [:]) {
        self.contentType = contentType
        self.metadata = metadata
    }
}

/// The attributes of a stored object.
public struct ObjectInfo: Hashable, Sendable {
    public var key: String
    /// In bytes.
    public var size: Int
    /// The entity tag, without quotes. It changes with the bytes.
    public var etag: String
    public var lastModified: Timestamp
    public var storageClass: String

    public init(key: String, size: Int, etag: String, lastModified: Timestamp, storageClass: String = "STANDARD") {
        self.key = key
        self.size = size
        self.etag = etag
        self.lastModified = lastModified
        self.storageClass = storageClass
    }
}

/// A list page of objects.
public struct ObjectList: Sendable {
    public var objects: [ObjectInfo]
    /// Whether more objects with the prefix follow after the last one of this page.
    public var hasMore: Bool

    public init(objects: [ObjectInfo], hasMore: Bool) {
        self.objects = objects
        self.hasMore = hasMore
    }
}

/// Operations on a whole object store, for maintenance.
public protocol ObjectMaintenance: Sendable {
    /// Uploads of any process that were neither finished nor aborted, for keys that start with `prefix`.
    func unfinishedUploads(prefix: String) async throws(ObjectError) -> [UnfinishedUpload]
    /// Aborts an unfinished upload and deletes its bytes. A missing upload is not an error.
    func abort(_ upload: UnfinishedUpload) async throws(ObjectError)
    /// The lifecycle rules of the bucket.
    func lifecycleRules() async throws(ObjectError) -> [LifecycleRule]
    /// Replaces all lifecycle rules of the bucket.
    func setLifecycleRules(_ rules: [LifecycleRule]) async throws(ObjectError)
}

/// An upload that was neither finished nor aborted, such as one that was interrupted.
public struct UnfinishedUpload: Hashable, Sendable {
    public var key: String
    public var uploadID: String
    public var initiatedAt: Timestamp

    public init(key: String, uploadID: String, initiatedAt: Timestamp) {
        self.key = key
        self.uploadID = uploadID
        self.initiatedAt = initiatedAt
    }
}

/// A lifecycle rule: what the bucket does to objects and uploads of a certain age.
public struct LifecycleRule: Hashable, Sendable {
    public var id: String
    /// The prefix of the keys to which the rule applies.
    public var prefix: String
    public var isEnabled: Bool
    /// Days after which objects move to infrequent access; `nil` for never.
    public var infrequentAccessDays: Int?
    /// Days after which objects are deleted; `nil` for never.
    public var expirationDays: Int?
    /// Days after which unfinished uploads are aborted; `nil` for the store's default.
    public var abortUploadDays: Int?

    public init(
        id: String, prefix: String, isEnabled: Bool = true, infrequentAccessDays: Int? = nil, expirationDays: Int? = nil,
        abortUploadDays: Int? = nil
    ) {
        self.id = id
        self.prefix = prefix
        self.isEnabled = isEnabled
        self.infrequentAccessDays = infrequentAccessDays
        self.expirationDays = expirationDays
        self.abortUploadDays = abortUploadDays
    }
}

/// The reason that an object store operation failed. The texts contain no secrets.
public enum ObjectError: Error, Hashable, Sendable {
    /// There is no object under the key.
    case notFound
    /// Another object has the key already.
    case exists
    /// The store is unreachable or overloaded, after all attempts. A write may or may not have been made.
    case unavailable(String)
    /// The store rejected the request and would reject it again, because of credentials, bucket or limits.
    case rejected(String)
    /// The bytes differ from those that were written.
    case corrupted(String)
    /// The request is invalid, such as a malformed key or a range outside the object.
    case invalid(String)
}
