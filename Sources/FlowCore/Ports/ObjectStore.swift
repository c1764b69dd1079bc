/// Where bulk data lies: objects under keys, whole or not at all. R2 and a folder implement it; one contract suite runs on both.
///
/// Keys are paths of the hub's own making: segments of `A-Za-z0-9_.:-` with slashes between, at most 1,024 bytes, no segment
/// `.` or `..`; any other is ``ObjectError/invalid(_:)``.
public protocol ObjectStore: Sendable {
    /// Names the kind of store in the ledger: `r2` or `folder`.
    var provider: String { get }
    var bucket: String { get }

    /// Begins an object under a key that nothing has yet. It is not there until ``ObjectUpload/finish()`` has returned.
    func upload(_ key: String, _ attributes: ObjectAttributes) async throws(ObjectError) -> any ObjectUpload

    /// Reads an object, or a part of it.
    /// - Parameter range: bytes, the end clamped to the object's; an empty one, or one behind its end, is
    ///   ``ObjectError/invalid(_:)``.
    func download(_ key: String, range: Range<Int>?) async throws(ObjectError) -> any ObjectDownload

    /// - Returns: `nil` if there is none.
    func head(_ key: String) async throws(ObjectError) -> ObjectInfo?

    /// Removes an object for good. That there is none is no error.
    func delete(_ key: String) async throws(ObjectError)

    /// Objects whose keys begin with `prefix`, in the order of their bytes, above `after`.
    func list(prefix: String, after: String?, limit: Int) async throws(ObjectError) -> ObjectList

    /// A link by which anybody may read the object for a while, without a token.
    /// - Parameters:
    ///   - seconds: 1 to 604,800.
    ///   - fileName: what a browser shall call the file.
    /// - Returns: `nil` if the store has no such links.
    func presign(_ key: String, seconds: Int, fileName: String) throws(ObjectError) -> String?
}

/// An object that is being written. Used by one task.
public protocol ObjectUpload: Sendable {
    /// Takes some bytes; waits while as much as may is under way.
    func write(_ bytes: [UInt8]) async throws(ObjectError)

    /// Makes it visible. Checked against what was written: what is returned is in the store as it was handed in.
    /// - Throws: ``ObjectError/exists`` if somebody else's object is there; nothing of this one remains then. After any other
    ///   error it may be there or not: ``abort()`` and look.
    func finish() async throws(ObjectError) -> ObjectInfo

    /// Gives it up; as far as the store can be reached nothing of it remains. After ``finish()`` has returned: does nothing.
    /// - Returns: whether it is certain that nothing remains of what was not finished. If not, somebody has to look later.
    @discardableResult
    func abort() async -> Bool
}

/// An object that is being read. Used by one task. Let go of it to stop.
public protocol ObjectDownload: Sendable {
    /// Of the whole object, also if a part is read.
    var info: ObjectInfo { get }

    /// The next bytes; `nil` at the end of what was asked for. Fewer bytes than the store announced are
    /// ``ObjectError/corrupted(_:)``, never an early end.
    func next() async throws(ObjectError) -> [UInt8]?
}

/// What the store keeps beside the bytes.
public struct ObjectAttributes: Hashable, Sendable {
    public var contentType: String
    /// Names of `a-z0-9-`, values of printable ASCII, 2,048 bytes in all.
    public var metadata: [String: String]

    public init(contentType: String = "application/gzip", metadata: [String: String] = [:]) {
        self.contentType = contentType
        self.metadata = metadata
    }
}

public struct ObjectInfo: Hashable, Sendable {
    public var key: String
    public var size: Int
    /// Changes with the bytes; without quotes.
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

public struct ObjectList: Sendable {
    public var objects: [ObjectInfo]
    public var hasMore: Bool

    public init(objects: [ObjectInfo], hasMore: Bool) {
        self.objects = objects
        self.hasMore = hasMore
    }
}

/// What looks after a store as a whole.
public protocol ObjectMaintenance: Sendable {
    /// Uploads that were begun and neither finished nor given up, by anybody.
    func unfinishedUploads(prefix: String) async throws(ObjectError) -> [UnfinishedUpload]
    /// Gives one of them up; its bytes are gone. That it is gone already is no error.
    func abort(_ upload: UnfinishedUpload) async throws(ObjectError)
    func lifecycleRules() async throws(ObjectError) -> [LifecycleRule]
    /// In place of all that were there.
    func setLifecycleRules(_ rules: [LifecycleRule]) async throws(ObjectError)
}

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

/// What the store does by itself with objects of a certain age.
public struct LifecycleRule: Hashable, Sendable {
    public var id: String
    public var prefix: String
    public var isEnabled: Bool
    /// Days after which objects move to infrequent access; `nil`: never.
    public var infrequentAccessDays: Int?
    /// Days after which objects are deleted; `nil`: never.
    public var expirationDays: Int?
    /// Days after which unfinished uploads are given up; `nil`: the store's own rule.
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

/// Why an object store did not do what it was asked. The texts name no secret.
public enum ObjectError: Error, Hashable, Sendable {
    case notFound
    /// Another object is there already.
    case exists
    /// Out of reach, or busy beyond every attempt. A write may have happened or not.
    case unavailable(String)
    /// It answered, and will answer the same again: credentials, bucket, limits.
    case refused(String)
    /// The bytes are not those that were written.
    case corrupted(String)
    /// What was asked for makes no sense.
    case invalid(String)
}
