/// The import ledger: the table of imports and their claims. SQLite and Postgres implement it; one contract suite runs on
/// both.
///
/// A worker must claim an import before it changes it. A claim is a lease that expires by the ledger's clock. Each claim of
/// an import has a higher claim number than those before it, and every change passes the number: it has no effect if another
/// worker has claimed the import since.
///
/// The ledger ignores the store's epoch, because imports have no versions.
public protocol ImportLedger: Sendable {
    /// Inserts a pending import with claim number 1.
    ///
    /// If another import of the account has the draft's idempotency key, that import is returned instead. Failed imports
    /// have no key. A pending import whose claim has expired loses its key to the new import and gets a new claim number. So
    /// the worker of the pending import can no longer change it; the import sweep deletes what that worker has stored.
    func begin(_ draft: ImportDraft, claimSeconds: Int) async throws(StoreError) -> ImportBeginResult

    /// Claims an import that has one of these statuses and is not claimed by another worker.
    /// - Parameter status: the import's new status; `nil` to leave it unchanged.
    /// - Returns: the import with its new claim; `nil` if it does not exist, is claimed or has another status.
    func claim(
        _ id: ImportID, from statuses: Set<Import.Status>, to status: Import.Status?, seconds: Int
    ) async throws(StoreError) -> Import?

    /// Sets the claim to expire `seconds` from now; 0 releases it.
    /// - Returns: whether the claim is still the latest one. If not, nothing was changed.
    func extend(_ id: ImportID, claim: Int64, seconds: Int) async throws(StoreError) -> Bool

    /// Makes the import `stored`, in one transaction with its sample rows, and releases the claim. If the records are
    /// rows (`result` has no gzip member index, and the import's provider is ``RecordStore/provider``), the ledger counts the
    /// rows and marks the first ``Import/sampleRows`` of them as sample rows.
    /// - Returns: whether the claim was still the latest one. If not, nothing was changed.
    /// - Throws: ``StoreError/unavailable(_:)`` if the number of rows differs from the one in `result`; nothing was changed.
    func finish(_ id: ImportID, claim: Int64, _ result: ImportResult) async throws(StoreError) -> Bool

    /// Makes a pending import `failed` and releases its claim and its idempotency key. Its rows are deleted and its location is
    /// cleared, so an object there becomes an orphan.
    /// - Returns: whether the claim was still the latest one. Also `false` for a stored import, which is not changed: an
    ///   earlier ``finish(_:claim:_:)`` whose outcome was unknown has succeeded.
    func fail(_ id: ImportID, claim: Int64, reason: String) async throws(StoreError) -> Bool

    /// Replaces what the ledger says about the storage of a stored import by what is really there: location, provider,
    /// metadata and index, and releases the claim. Rows and objects are not changed.
    /// - Parameters:
    ///   - recorded: the location in the ledger until now.
    ///   - location: the key of the object that has the records; `nil` if they are rows.
    /// - Returns: whether it was replaced. If the claim is not the latest one, or the location is another one, nothing was
    ///   changed.
    func correct(
        _ id: ImportID, claim: Int64, from recorded: String?, to location: String?, provider: String, _ result: ImportResult
    ) async throws(StoreError) -> Bool

    /// Deletes the import and all its rows.
    /// - Returns: whether the claim was still the latest one. If not, nothing was changed.
    func remove(_ id: ImportID, claim: Int64) async throws(StoreError) -> Bool

    /// The import with this id, in any status; `nil` if there is none.
    func load(_ id: ImportID) async throws(StoreError) -> Import?
    /// The gzip member index of the import's object; `nil` if the import does not exist or its records are rows.
    func index(of id: ImportID) async throws(StoreError) -> GzipMemberIndex?
    /// The sample rows in order, at most ``Import/sampleRows``.
    func samples(of id: ImportID) async throws(StoreError) -> [JSONText]
    /// Imports of an account, the newest first, without those that are `deleting`. Empty if the import in
    /// ``ImportQuery/after`` does not exist.
    func list(_ query: ImportQuery) async throws(StoreError) -> ImportList
}

/// Queries over the imports of all accounts, for maintenance.
public protocol ImportMaintenance: Sendable {
    /// Imports in the order of their ids, above `after`; from the first import on if `after` is `nil`.
    func imports(after: ImportID?, limit: Int) async throws(StoreError) -> [Import]
    /// `pending` and `deleting` imports whose claim has expired or was released, the longest unchanged first.
    func abandoned(limit: Int) async throws(StoreError) -> [Import]
    /// Stored and failed imports whose import event was not published yet and whose claim has expired or was released,
    /// the longest unchanged first. Imports of the legacy service are left out.
    func unannounced(limit: Int) async throws(StoreError) -> [Import]
    /// Failed imports of hubs whose ingestion failed before a moment and whose claim has expired or was released, the earliest
    /// first. For retention.
    func failed(before moment: Timestamp, limit: Int) async throws(StoreError) -> [Import]
    /// Records that the import's event was published.
    func markAnnounced(_ id: ImportID) async throws(StoreError)
    /// The encryption of one stored import for each name of an import key. Reads the whole ledger.
    func encryptions() async throws(StoreError) -> [ImportEncryption]
    /// Whether an import refers to the object under this key, besides this one. If none does, the object is an orphan.
    func isReferenced(_ key: String, besides id: ImportID?) async throws(StoreError) -> Bool
}

extension ImportMaintenance {
    /// Whether any import refers to the object under this key.
    public func isReferenced(_ key: String) async throws(StoreError) -> Bool { try await self.isReferenced(key, besides: nil) }
}

/// The store of imports' records as database rows.
public protocol RecordStore: Sendable {
    /// The provider in the ledger: `postgres` or `sqlite`.
    var provider: String { get }

    /// Adds records as rows with consecutive record numbers, in one transaction. Sample rows and rows of hubs that have the same
    /// numbers already are replaced. Other rows of the legacy service stay: most have no number.
    /// - Parameter index: the number of the first record, counted from 0.
    /// - Returns: whether the claim is still the latest one. If not, nothing was added.
    func append(
        _ records: [JSONText], at index: Int, to id: ImportID, account: String, claim: Int64
    ) async throws(StoreError) -> Bool

    /// Records in order, from number `offset` on: at most `limit` of them and about 1 MiB in total. A first record that
    /// exceeds 1 MiB is returned alone. Empty if there are no records from `offset` on.
    func records(of id: ImportID, offset: Int, limit: Int) async throws(StoreError) -> [JSONText]

    /// The next slice of all records in order, with the bounds of ``records(of:offset:limit:)``. Each slice costs the same;
    /// reading by offset gets slower towards the end of an import of the legacy service.
    /// - Parameter bookmark: ``RecordSlice/next`` of the previous slice; `nil` for the first one.
    func records(of id: ImportID, after bookmark: RecordBookmark?, limit: Int) async throws(StoreError) -> RecordSlice

    /// Deletes the rows that hubs wrote, except sample rows, in several transactions. Rows of the legacy service stay.
    /// - Returns: whether the claim is still the latest one. If not, nothing is deleted any more; rows that were deleted before
    ///   another worker claimed the import stay deleted.
    func removeRecords(of id: ImportID, claim: Int64) async throws(StoreError) -> Bool

    /// How many rows the import has, and of which kind. Reads no records.
    func rowCounts(of id: ImportID) async throws(StoreError) -> RowCounts

    /// The digest of all rows, sample rows included. Reads every row.
    func digest(of id: ImportID) async throws(StoreError) -> RowDigest

    /// Switches an import from rows to an object. One transaction checks that the rows still have this digest, removes
    /// all but the first ``Import/sampleRows``, and sets location, provider, metadata and index. A row that another
    /// process adds after the switch stays as an extra row.
    /// - Parameters:
    ///   - location: the object's key.
    ///   - expecting: the digest of the rows that the object was made from.
    /// - Returns: whether the switch was made. If rows were added, deleted or changed since the digest was made, if the
    ///   number of records in `result` differs from the digest's, or if the claim is not the latest one, nothing was changed.
    func switchToObject(
        _ id: ImportID, claim: Int64, location: String, provider: String, expecting: RowDigest, _ result: ImportResult
    ) async throws(StoreError) -> Bool

    /// Switches an import from an object to rows, if its numbered rows are exactly the records 0 up to `count`, without
    /// gaps. The first ``Import/sampleRows`` become the sample rows.
    /// - Returns: whether the switch was made. If not, nothing was changed.
    func switchToRows(_ id: ImportID, claim: Int64, count: Int, _ result: ImportResult) async throws(StoreError) -> Bool
}

/// A continuation token for reading an import's records. Only valid for the store that issued it.
public struct RecordBookmark: Hashable, Sendable {
    public let rawValue: String

    public init(rawValue: String) { self.rawValue = rawValue }
}

/// Consecutive records of an import.
public struct RecordSlice: Hashable, Sendable {
    public var records: [JSONText]
    /// The token for the next slice; `nil` if this is the last one. The last slice may be empty.
    public var next: RecordBookmark?

    public init(records: [JSONText], next: RecordBookmark?) {
        self.records = records
        self.next = next
    }
}

/// How many rows an import has, and of which kind.
public struct RowCounts: Hashable, Sendable {
    public var rows: Int
    /// Number of sample rows.
    public var samples: Int
    /// Number of rows that have a record number.
    public var numbered: Int
    /// Whether the record numbers are those from 0 on, without gaps and without repetition.
    public var isContiguous: Bool
    /// Number of rows, without sample rows, that have a record number from another program. A hub does not replace or delete
    /// them as its own.
    public var foreign: Int

    public init(rows: Int, samples: Int, numbered: Int, isContiguous: Bool, foreign: Int = 0) {
        self.rows = rows
        self.samples = samples
        self.numbered = numbered
        self.isContiguous = isContiguous
        self.foreign = foreign
    }

    /// Whether the rows are certainly all records of the import, and not only sample rows beside an object, or sample rows
    /// with rows that were added later.
    /// - Parameter total: the number of records by the ledger; `nil` if it is unknown.
    public func isWhole(_ total: Int?) -> Bool {
        guard total == nil || total == self.rows, self.rows > 0 || total == 0 else { return false }
        if self.numbered == self.rows, self.isContiguous { return total != nil || self.rows > Import.sampleRows }
        return self.numbered == 0 && self.samples == 0
    }

    /// Whether records are certainly missing: there are only sample rows, or fewer rows than a hub has counted.
    /// - Parameter isCounted: whether a hub has counted the records.
    public func isIncomplete(_ total: Int?, isCounted: Bool) -> Bool {
        guard let total, self.rows < total else { return false }
        return isCounted || self.rows == self.samples
    }
}

/// A count and hash of an import's rows, independent of their order. Equal digests mean equal sets of rows, but for hash
/// collisions.
public struct RowDigest: Hashable, Sendable {
    /// Number of rows.
    public var count: Int
    /// The sum of the rows' hashes, in the store's own notation.
    public var sum: String

    public init(count: Int, sum: String) {
        self.count = count
        self.sum = sum
    }
}

/// The values of a new import, for ``ImportLedger/begin(_:claimSeconds:)``. The members mean the same as in ``Import``.
public struct ImportDraft: Hashable, Sendable {
    public var id: ImportID
    public var account: String
    public var flow: FlowID?
    public var fileName: String?
    public var sourceType: String?
    public var provider: String
    public var location: String?
    public var idempotencyKey: String?
    public var createdAt: Timestamp

    public init(
        id: ImportID, account: String, flow: FlowID?, fileName: String?, sourceType: String?, provider: String,
        location: String?, idempotencyKey: String?, createdAt: Timestamp
    ) {
        self.id = id
        self.account = account
        self.flow = flow
        self.fileName = fileName
        self.sourceType = sourceType
        self.provider = provider
        self.location = location
        self.idempotencyKey = idempotencyKey
        self.createdAt = createdAt
    }
}

/// The result of ``ImportLedger/begin(_:claimSeconds:)``.
public enum ImportBeginResult: Sendable {
    /// A new pending import, claimed by the caller.
    case begun(Import)
    /// The account's earlier import with the same idempotency key: not failed, and if pending, claimed by another worker.
    case found(Import)
    /// The account has this maximum number of imports. Nothing was inserted.
    case limitReached(Int)
}

/// The outcome of storing an import's records.
public struct ImportResult: Hashable, Sendable {
    public var storage: StorageMetadata
    public var fieldSummary: JSONText
    /// The gzip member index of the object; `nil` if the records are rows.
    public var index: GzipMemberIndex?
    /// The first ``Import/sampleRows`` records.
    public var samples: [JSONText]
    /// ``Import/requestHash`` of the import.
    public var requestHash: String?
    /// ``Import/encryption`` of the import. `samples` are encrypted accordingly.
    public var encryption: ImportEncryption?
    /// For ``ImportLedger/finish(_:claim:_:)``: the key of the object that becomes the import's location; `nil` if the location
    /// stays.
    public var location: String?
    /// For ``RecordStore/switchToObject(_:claim:location:provider:expecting:_:)``: whether the sample rows get the text of
    /// `samples`, because they or the object are encrypted. Else they keep their text.
    public var replacesSamples = false

    public init(
        storage: StorageMetadata, fieldSummary: JSONText, index: GzipMemberIndex?, samples: [JSONText], requestHash: String?,
        encryption: ImportEncryption? = nil
    ) {
        self.storage = storage
        self.fieldSummary = fieldSummary
        self.index = index
        self.samples = samples
        self.requestHash = requestHash
        self.encryption = encryption
    }
}

/// A query for a list page of an account's imports.
public struct ImportQuery: Hashable, Sendable {
    public var account: String
    /// The flow that the imports must have; `nil` for any.
    public var flow: FlowID?
    /// The status that the imports must have; `nil` for any except `deleting`.
    public var status: Import.Status?
    /// The last import of the previous list page; `nil` for the first page.
    public var after: ImportID?
    /// Maximum number of imports.
    public var limit: Int

    public init(account: String, flow: FlowID? = nil, status: Import.Status? = nil, after: ImportID? = nil, limit: Int) {
        self.account = account
        self.flow = flow
        self.status = status
        self.after = after
        self.limit = limit
    }
}

/// A list page of imports.
public struct ImportList: Sendable {
    public var imports: [Import]
    /// Whether more imports match the query after the last one of this page.
    public var hasMore: Bool

    public init(imports: [Import], hasMore: Bool) {
        self.imports = imports
        self.hasMore = hasMore
    }
}
