/// A data set that a client uploaded, as the import ledger records it.
public struct Import: Hashable, Sendable {
    /// Where the import is between the start of its upload and its deletion.
    public enum Status: String, Hashable, Sendable, CaseIterable {
        /// Being ingested, or interrupted and not cleaned up yet. Its records cannot be read, and of its events only
        /// `import_progress` may have been published.
        case pending
        /// Stored completely and readable.
        case stored
        /// Ingestion failed. Only this row of the import is kept.
        case failed
        /// Being deleted. Queries no longer return it.
        case deleting
    }

    public var id: ImportID
    public var account: String
    /// The flow on which the import's events are published; `nil` if the client named none.
    public var flow: FlowID?
    /// Name of the uploaded file; `nil` if the client named none.
    public var fileName: String?
    /// The kind of source that the client named; `nil` if it named none. The hub does not interpret it.
    public var sourceType: String?
    public var status: Status
    public var createdAt: Timestamp
    /// `nil` before the import is stored, and for an import of the legacy service whose records were never counted.
    public var totalRecords: Int?
    /// Counts of the records' fields by type, see ``FieldSummary/json``. `nil` before the import is stored, and if the
    /// legacy service recorded none.
    public var fieldSummary: JSONText?
    /// The kind of store that holds the records: ``ObjectStore/provider`` or ``RecordStore/provider``. If another program
    /// wrote the ledger's row, it may be any text; see ``ImportService/objectStore(of:)``.
    public var provider: String
    /// The text in the ledger that names the provider, if it contradicts the location and ``provider`` was derived from the
    /// location instead; else `nil`.
    public var contradictingProvider: String?
    /// Key of the object that holds the records; `nil` if the records are rows.
    public var location: String?
    /// Sizes and hashes of the stored records. `nil` before the import is stored, and if the legacy service recorded
    /// none.
    public var storage: StorageMetadata?
    /// Whether the ledger has storage metadata that cannot be read, so that ``storage`` is `nil`. Another program has written it.
    public var hasUnreadableStorage = false
    /// How the stored records are encrypted; `nil` if they are not.
    public var encryption: ImportEncryption?
    /// Reason of the failure as a sentence for the client; `nil` unless the import failed.
    public var failure: String?
    /// `Idempotency-Key` of the upload request; `nil` if it had none.
    public var idempotencyKey: String?
    /// SHA-256 of the request body as it was sent, in hexadecimal; `nil` without an idempotency key, and before
    /// the import is stored.
    public var requestHash: String?
    /// Claim number: counts the workers' claims on this import. A change under a lower number has no effect.
    public var claim: Int64
    /// Time at which the latest claim expires, by the ledger's clock; `nil` if the import is not claimed.
    public var claimedUntil: Timestamp?

    public init(
        id: ImportID, account: String, flow: FlowID?, fileName: String?, sourceType: String?, status: Status,
        createdAt: Timestamp, totalRecords: Int? = nil, fieldSummary: JSONText? = nil, provider: String, location: String? = nil,
        storage: StorageMetadata? = nil, encryption: ImportEncryption? = nil, failure: String? = nil,
        idempotencyKey: String? = nil, requestHash: String? = nil, claim: Int64 = 0, claimedUntil: Timestamp? = nil
    ) {
        self.id = id
        self.account = account
        self.flow = flow
        self.fileName = fileName
        self.sourceType = sourceType
        self.status = status
        self.createdAt = createdAt
        self.totalRecords = totalRecords
        self.fieldSummary = fieldSummary
        self.provider = provider
        self.location = location
        self.storage = storage
        self.encryption = encryption
        self.failure = failure
        self.idempotencyKey = idempotencyKey
        self.requestHash = requestHash
        self.claim = claim
        self.claimedUntil = claimedUntil
    }

    /// Number of records that stay in the database as sample rows, even if the records are in an object.
    public static let sampleRows = 10
    /// Maximum number of records in a cached sample.
    public static let sampleRecords = 100

    /// The key of the object of a new import: the name that the legacy service writes.
    public static func objectKey(account: String, createdAt: Timestamp, id: ImportID) -> String {
        Self.objectFolder(account: account, createdAt: createdAt, id: id) + "raw_data.json.gz"
    }

    /// The key of the object that the worker with this claim moves the import's rows to. It contains the claim number, so
    /// that no worker overwrites an object that an earlier worker finishes late. And it never is a key that the legacy
    /// service's migrate script writes: the script overwrites whatever has its key, and may run at the same time.
    public var movedObjectKey: String {
        Self.objectFolder(account: self.account, createdAt: self.createdAt, id: self.id) + "raw_data.\(self.claim).json.gz"
    }

    /// The prefix of the keys of an import's objects. A legacy import without an account has `-` in its place.
    private static func objectFolder(account: String, createdAt: Timestamp, id: ImportID) -> String {
        let date = createdAt.description.prefix(10).split(separator: "-").joined(separator: "/")
        return "imports/\(account.isEmpty ? "-" : account)/\(date)/\(id)/"
    }
}

/// How and where an import's records are stored: the `storage_metadata` column of the legacy service.
public struct StorageMetadata: Hashable, Sendable {
    /// Key of the object that the metadata describes; `nil` if the records are rows, or if an older hub wrote the metadata.
    public var location: String?
    /// Name of the bucket that has the object; `nil` if the records are rows.
    public var bucket: String?
    /// Size of the object in bytes; ``originalSizeBytes`` if the records are rows.
    public var sizeBytes: Int
    /// Size of the uncompressed document in bytes.
    public var originalSizeBytes: Int
    public var recordCount: Int
    /// SHA-256 of the stored object in hexadecimal; `nil` if the records are rows or the hash is unknown.
    public var dataHash: String?
    /// SHA-256 of the records, each followed by a line feed, in hexadecimal. It does not depend on where the records
    /// are stored. Empty if unknown.
    public var contentHash: String
    /// Storage class as S3 names it: `STANDARD` for every import that a hub stores.
    public var storageClass: String

    public init(
        location: String? = nil, bucket: String?, sizeBytes: Int, originalSizeBytes: Int, recordCount: Int, dataHash: String?,
        contentHash: String, storageClass: String = "STANDARD"
    ) {
        self.location = location
        self.bucket = bucket
        self.sizeBytes = sizeBytes
        self.originalSizeBytes = originalSizeBytes
        self.recordCount = recordCount
        self.dataHash = dataHash
        self.contentHash = contentHash
        self.storageClass = storageClass
    }

    /// ``sizeBytes`` divided by ``originalSizeBytes``, rounded to three decimals, as text. The legacy service rounds
    /// to two decimals.
    private var ratio: String {
        guard self.originalSizeBytes > 0 else { return "1" }
        let thousandths = (self.sizeBytes * 1_000 + self.originalSizeBytes / 2) / self.originalSizeBytes
        let fraction = String(thousandths % 1_000)
        return "\(thousandths / 1_000)." + String(repeating: "0", count: 3 - fraction.utf8.count) + fraction
    }

    /// The metadata as JSON, in the form of the ledger and of `storage_metadata` in the HTTP API.
    public var json: JSONText {
        .object { writer in
            writer.key("storage_location")
            if let location = self.location { writer.value(location) } else { writer.null() }
            writer.key("bucket")
            if let bucket = self.bucket { writer.value(bucket) } else { writer.null() }
            writer.key("size_bytes")
            writer.value(self.sizeBytes)
            writer.key("original_size_bytes")
            writer.value(self.originalSizeBytes)
            writer.key("compression_ratio")
            writer.raw(JSONText(trusted: Array(self.ratio.utf8)))
            writer.key("record_count")
            writer.value(self.recordCount)
            writer.key("data_hash")
            if let hash = self.dataHash { writer.value(hash) } else { writer.null() }
            writer.key("content_hash")
            writer.value(self.contentHash)
            writer.key("storage_class")
            writer.value(self.storageClass)
        }
    }

    /// Sizes and numbers of records that are accepted from JSON: they can be multiplied by 1,000 without overflow.
    private static let plausibleRange: ClosedRange<Int64> = 0...1_000_000_000_000_000

    /// Reads metadata from its form in the ledger. Metadata of the legacy service has no `content_hash`; ``contentHash``
    /// is then empty.
    /// - Returns: `nil` if a size or the number of records is missing or implausible.
    public init?(_ json: JSONText) {
        guard let size = json.member("size_bytes")?.intValue, let original = json.member("original_size_bytes")?.intValue,
            let count = json.member("record_count")?.intValue, [size, original, count].allSatisfy(Self.plausibleRange.contains)
        else { return nil }
        self.init(
            location: json.member("storage_location")?.stringValue, bucket: json.member("bucket")?.stringValue,
            sizeBytes: Int(size), originalSizeBytes: Int(original), recordCount: Int(count),
            dataHash: json.member("data_hash")?.stringValue,
            contentHash: json.member("content_hash")?.stringValue ?? "",
            storageClass: json.member("storage_class")?.stringValue ?? "STANDARD")
    }
}

extension StorageMetadata {
    /// Whether sizes and `data_hash` may be those of the object under this key, as far as the metadata says. They are not if
    /// another program has changed the location alone.
    func concerns(_ location: String) -> Bool { self.location == nil || self.location == location }

    /// Whether a hub wrote the metadata for the object under this key. If so, the ledger's gzip member index is that
    /// object's.
    func isOfHub(for location: String) -> Bool { !self.contentHash.isEmpty && self.concerns(location) }
}
