/// One data set that was handed in, as the ledger knows it.
public struct Import: Hashable, Sendable {
    public enum Status: String, Hashable, Sendable, CaseIterable {
        /// Being taken in. Nobody was told that it is there.
        case pending
        /// Whole and readable.
        case stored
        /// It did not come to anything; nothing of it is kept but this row.
        case failed
        /// Being taken away. It is not shown any more.
        case deleting
    }

    public var id: ImportID
    public var account: String
    /// The flow whose subscribers hear of it.
    public var flow: FlowID?
    public var fileName: String?
    public var sourceType: String?
    public var status: Status
    public var createdAt: Timestamp
    /// `nil` for an older service's import that nobody has counted.
    public var totalRecords: Int?
    public var fieldSummary: JSONText?
    /// Where the records lie: ``ObjectStore/provider`` or ``RecordStore/provider``.
    public var provider: String
    /// The object's key; `nil` where the records are rows.
    public var location: String?
    public var storage: StorageMetadata?
    /// Why it failed, for whoever handed it in.
    public var failure: String?
    /// `Idempotency-Key` of the request that made it.
    public var idempotencyKey: String?
    /// SHA-256 of the request's body as it was sent, in hexadecimal.
    public var requestHash: String?
    /// Counts the workers that had it in hand, each above the one before. Only the last one's word counts.
    public var claim: Int64
    /// Until when the last worker holds it, by the ledger's clock; `nil` if nobody does.
    public var claimedUntil: Timestamp?

    public init(
        id: ImportID, account: String, flow: FlowID?, fileName: String?, sourceType: String?, status: Status,
        createdAt: Timestamp, totalRecords: Int? = nil, fieldSummary: JSONText? = nil, provider: String, location: String? = nil,
        storage: StorageMetadata? = nil, failure: String? = nil, idempotencyKey: String? = nil, requestHash: String? = nil,
        claim: Int64 = 0, claimedUntil: Timestamp? = nil
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
        self.failure = failure
        self.idempotencyKey = idempotencyKey
        self.requestHash = requestHash
        self.claim = claim
        self.claimedUntil = claimedUntil
    }

    /// Rows that stay in the database as a sample, whatever holds the records.
    public static let sampleRows = 10
    /// Records that are kept at hand.
    public static let sampleRecords = 100

    /// The key of the object that a worker writes. The first one has the name that older services look for; a later one never
    /// writes over what an earlier one may yet turn out to have finished.
    public static func objectKey(account: String, createdAt: Timestamp, id: ImportID, claim: Int64) -> String {
        let date = createdAt.description.prefix(10).split(separator: "-").joined(separator: "/")
        let name = claim <= 1 ? "raw_data.json.gz" : "raw_data.\(claim).json.gz"
        return "imports/\(account)/\(date)/\(id)/\(name)"
    }
}

/// How an import's records are stored: the seed's `storage_metadata`.
public struct StorageMetadata: Hashable, Sendable {
    public var bucket: String?
    /// Bytes of the object; where the records are rows, ``originalSizeBytes``.
    public var sizeBytes: Int
    /// Bytes of the unpacked document.
    public var originalSizeBytes: Int
    public var recordCount: Int
    /// SHA-256 of the stored object in hexadecimal; `nil` where there is none.
    public var dataHash: String?
    /// SHA-256 of the records, each with a line feed behind it, in hexadecimal. The same wherever they lie.
    public var contentHash: String
    public var storageClass: String

    public init(
        bucket: String?, sizeBytes: Int, originalSizeBytes: Int, recordCount: Int, dataHash: String?, contentHash: String,
        storageClass: String = "STANDARD"
    ) {
        self.bucket = bucket
        self.sizeBytes = sizeBytes
        self.originalSizeBytes = originalSizeBytes
        self.recordCount = recordCount
        self.dataHash = dataHash
        self.contentHash = contentHash
        self.storageClass = storageClass
    }

    /// Stored bytes by unpacked ones, in thousandths rounded, as text; the seed has hundredths.
    private var ratio: String {
        guard self.originalSizeBytes > 0 else { return "1" }
        let thousandths = (self.sizeBytes * 1_000 + self.originalSizeBytes / 2) / self.originalSizeBytes
        let fraction = String(thousandths % 1_000)
        return "\(thousandths / 1_000)." + String(repeating: "0", count: 3 - fraction.utf8.count) + fraction
    }

    public var json: JSONText {
        .object { writer in
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

    /// What can be multiplied by a thousand.
    private static let possible: ClosedRange<Int64> = 0...1_000_000_000_000_000

    /// - Returns: `nil` if what stands there is not of this shape. What an older service wrote has no `content_hash`.
    public init?(_ json: JSONText) {
        guard let size = json.member("size_bytes")?.intValue, let original = json.member("original_size_bytes")?.intValue,
            let count = json.member("record_count")?.intValue, [size, original, count].allSatisfy(Self.possible.contains)
        else { return nil }
        self.init(
            bucket: json.member("bucket")?.stringValue, sizeBytes: Int(size), originalSizeBytes: Int(original),
            recordCount: Int(count), dataHash: json.member("data_hash")?.stringValue,
            contentHash: json.member("content_hash")?.stringValue ?? "",
            storageClass: json.member("storage_class")?.stringValue ?? "STANDARD")
    }
}
