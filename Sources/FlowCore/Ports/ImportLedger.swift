/// The book of imports. SQLite and Postgres implement it; one contract suite runs on both.
///
/// Whoever works on an import holds a claim on it for a while, by the ledger's clock. Each claim has a number above all before
/// it, and every change of a claimed import names its number: once somebody else has taken over, it changes nothing.
///
/// Does not look at the store's epoch: an import has no versions.
public protocol ImportLedger: Sendable {
    /// Enters a pending import under claim 1. Under an idempotency key of the account that is in use, what is there is returned
    /// instead; a failed import gives its key up, and so does a pending one whose claim is over: its worker is too late then, and it
    /// stays for whoever sweeps.
    func begin(_ draft: ImportDraft, claimSeconds: Int) async throws(StoreError) -> ImportBeginResult

    /// Takes an import over, if nobody holds it and its status is one of these; makes it `status` if one is named.
    /// - Returns: the import with its new claim; `nil` if it cannot be had.
    func claim(
        _ id: ImportID, from statuses: Set<Import.Status>, to status: Import.Status?, seconds: Int
    ) async throws(StoreError) -> Import?

    /// Holds it for so long from now on; 0 lets go of it.
    /// - Returns: whether the claim still is the last one.
    func extend(_ id: ImportID, claim: Int64, seconds: Int) async throws(StoreError) -> Bool

    /// Makes the import `stored`, in one transaction with its sample rows, and lets go of it. Where the records are rows (no
    /// index, and the provider is ``RecordStore/provider``) it counts them, and marks the first ones as samples.
    /// - Returns: whether the claim still was the last one; if not, nothing was changed.
    /// - Throws: ``StoreError/unavailable(_:)`` if the rows are not as many as the result says; nothing was changed.
    func finish(_ id: ImportID, claim: Int64, _ result: ImportResult) async throws(StoreError) -> Bool

    /// Makes a pending import `failed`, lets go of it, and gives up its idempotency key. Its rows are gone, and it has no
    /// location any more: what lies there is nobody's.
    /// - Returns: whether the claim still was the last one. `false` also for a stored import, which stays as it is: an earlier
    ///   ``finish(_:claim:_:)`` of unknown outcome was done.
    func fail(_ id: ImportID, claim: Int64, reason: String) async throws(StoreError) -> Bool

    /// Removes the import and every row of it; in between it is `deleting`.
    func remove(_ id: ImportID, claim: Int64) async throws(StoreError) -> Bool

    func load(_ id: ImportID) async throws(StoreError) -> Import?
    /// `nil` if it has none.
    func index(of id: ImportID) async throws(StoreError) -> GzipMemberIndex?
    /// The sample rows, in order: at most ``Import/sampleRows``.
    func samples(of id: ImportID) async throws(StoreError) -> [JSONText]
    /// Of an account, the latest first, `deleting` ones left out. Empty if the import that it comes after is gone.
    func list(_ query: ImportQuery) async throws(StoreError) -> ImportList
}

/// What looks after the book as a whole.
public protocol ImportMaintenance: Sendable {
    /// All imports of all accounts, in the order of their ids, above `after`.
    func imports(after: ImportID?, limit: Int) async throws(StoreError) -> [Import]
    /// `pending` and `deleting` imports that nobody holds (any more).
    func abandoned(limit: Int) async throws(StoreError) -> [Import]
    /// Stored and failed imports of a hub's whose flow was not told, and that nobody holds; the longest waiting first.
    func unannounced(limit: Int) async throws(StoreError) -> [Import]
    func markAnnounced(_ id: ImportID) async throws(StoreError)
    /// Whether this key is the location of an import.
    func isReferenced(_ key: String) async throws(StoreError) -> Bool
}

/// Records as rows of the store's database.
public protocol RecordStore: Sendable {
    /// Names the kind of store in the ledger: `postgres` or `sqlite`.
    var provider: String { get }

    /// Adds records under consecutive indices, in one transaction. They take the place of rows of this hub that are there under
    /// the same indices.
    /// - Parameter index: of the first.
    /// - Returns: whether the claim still is the last one; if not, nothing was added.
    func append(
        _ records: [JSONText], at index: Int, to id: ImportID, account: String, claim: Int64
    ) async throws(StoreError) -> Bool

    /// Records in order from number `offset` on: at most `limit`, and no more than some 1 MiB, but at least one if there is one.
    func records(of id: ImportID, offset: Int, limit: Int) async throws(StoreError) -> [JSONText]

    /// All records in order, a page after the other, each of a size as above. A page costs the same wherever it is, which one at
    /// an offset does not in an import whose rows have no numbers.
    /// - Parameter bookmark: of the page before; `nil` for the first page.
    func records(of id: ImportID, after bookmark: RecordBookmark?, limit: Int) async throws(StoreError) -> RecordSlice

    /// Removes rows that this hub made and that are no sample, in batches.
    func removeRecords(of id: ImportID, claim: Int64) async throws(StoreError) -> Bool

    /// Counts the rows and adds up a digest of each, samples included. Goes through all of them.
    func digest(of id: ImportID) async throws(StoreError) -> RowDigest

    /// Makes an object the place of an import whose records are rows: in one transaction checks that the rows still have this
    /// digest, removes all but the first ``Import/sampleRows``, and sets location, provider, metadata and index.
    /// A row that comes after that stays where it is.
    /// - Returns: whether it was done: if a row came, went or changed meanwhile, the result has another count, or the claim is not
    ///   the last one, nothing was.
    func switchToObject(
        _ id: ImportID, claim: Int64, location: String, provider: String, expecting: RowDigest, _ result: ImportResult
    ) async throws(StoreError) -> Bool

    /// Makes the rows the place of an import whose records are an object, if those with a number are as many as this, without
    /// holes. The sample rows are the first of them.
    func switchToRows(_ id: ImportID, claim: Int64, count: Int, _ result: ImportResult) async throws(StoreError) -> Bool
}

/// Where a reading of records has come to. Only the store that gave it can make sense of it.
public struct RecordBookmark: Hashable, Sendable {
    public let rawValue: String

    public init(rawValue: String) { self.rawValue = rawValue }
}

/// Consecutive records of an import.
public struct RecordSlice: Hashable, Sendable {
    public var records: [JSONText]
    /// `nil` at the end. The last page may be empty.
    public var next: RecordBookmark?

    public init(records: [JSONText], next: RecordBookmark?) {
        self.records = records
        self.next = next
    }
}

/// Two sets of rows with one digest are the same rows, but for their order.
public struct RowDigest: Hashable, Sendable {
    public var count: Int
    /// The sum of a hash of each row.
    public var sum: String

    public init(count: Int, sum: String) {
        self.count = count
        self.sum = sum
    }
}

/// An import before it is there.
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

public enum ImportBeginResult: Sendable {
    case begun(Import)
    /// The account's import under that key: a stored one, or a pending one that somebody holds.
    case found(Import)
}

/// What became of an import's records.
public struct ImportResult: Hashable, Sendable {
    public var storage: StorageMetadata
    public var fieldSummary: JSONText
    /// `nil` where the records are rows.
    public var index: GzipMemberIndex?
    /// The first ``Import/sampleRows`` records.
    public var samples: [JSONText]
    public var requestHash: String?

    public init(
        storage: StorageMetadata, fieldSummary: JSONText, index: GzipMemberIndex?, samples: [JSONText], requestHash: String?
    ) {
        self.storage = storage
        self.fieldSummary = fieldSummary
        self.index = index
        self.samples = samples
        self.requestHash = requestHash
    }
}

public struct ImportQuery: Hashable, Sendable {
    public var account: String
    public var flow: FlowID?
    public var status: Import.Status?
    /// Only those that come after this one.
    public var after: ImportID?
    public var limit: Int

    public init(account: String, flow: FlowID? = nil, status: Import.Status? = nil, after: ImportID? = nil, limit: Int) {
        self.account = account
        self.flow = flow
        self.status = status
        self.after = after
        self.limit = limit
    }
}

public struct ImportList: Sendable {
    public var imports: [Import]
    public var hasMore: Bool

    public init(imports: [Import], hasMore: Bool) {
        self.imports = imports
        self.hasMore = hasMore
    }
}
