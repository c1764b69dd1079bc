public import FlowCore
import GRDB

/// The import ledger in an SQLite file, with records as rows of the same file, which also contains the flows.
///
/// Claims expire by this machine's clock, on which all processes with the file open agree. Transactions are short: a
/// flow's commit waits for at most one batch of rows. Rows to be deleted are detached from their import in one step and
/// deleted in batches afterwards. If a crash interrupts that, the next maintenance continues. Safe to use from any
/// task.
public final class SQLiteImportLedger: ImportLedger, ImportMaintenance, RecordStore {
    public struct Limits: Hashable, Sendable {
        /// Maximum number of rows that one transaction deletes.
        public var removedRows = 1_000
        /// Maximum total bytes of the records that one read returns. A single record above this limit is returned
        /// alone.
        public var pageBytes = 1_048_576

        public init() {}
    }

    public var provider: String { Self.provider }
    /// Provider of imports whose records are rows in SQLite.
    static let provider = "sqlite"

    let store: SQLiteFlowStore
    let limits: Limits

    public init(_ store: SQLiteFlowStore, limits: Limits = .init()) {
        self.store = store
        self.limits = limits
    }

    // MARK: Claims

    /// Inserts a pending import with claim number 1, or returns the import of the account that has the same idempotency
    /// key. If that import was interrupted (it is `pending` and unclaimed), the new import is inserted and gets the key
    /// instead.
    public func begin(_ draft: ImportDraft, claimSeconds: Int) async throws(StoreError) -> ImportBeginResult {
        try await self.store.write { database -> ImportBeginResult in
            let now = try database.clock()
            if let key = draft.idempotencyKey,
                let found = try database.entry(
                    "account = ? AND idempotency_key = ?", [draft.account.databaseValue, key.databaseValue])
            {
                guard found.status == .pending, found.isUnclaimed(at: now) else { return .found(found) }
                // This raises the claim number, so that the interrupted import's worker can change nothing any more.
                // The import sweep makes that import `failed` later.
                try database.run(
                    "UPDATE data_imports SET claim = claim + 1, claimed_until = NULL, idempotency_key = NULL WHERE id = ?",
                    [found.id.rawValue.databaseValue])
            }
            let limit = self.store.accountLimits.imports
            if limit > 0, try database.usage(of: draft.account).imports >= limit { return .limitReached(limit) }
            try database.insert(draft, until: now.advanced(bySeconds: Int64(claimSeconds)), at: now)
            guard let begun = try database.entry(draft.id) else { throw UnreadableRow() }
            return .begun(begun)
        }
    }

    /// Claims an unclaimed import that has one of `statuses`, and sets its status to `status`; `nil` leaves the status
    /// unchanged.
    /// - Returns: the import with its new claim; `nil` if it does not exist, is claimed or has another status.
    public func claim(
        _ id: ImportID, from statuses: Set<Import.Status>, to status: Import.Status?, seconds: Int
    ) async throws(StoreError) -> Import? {
        try await self.store.write { database in
            let now = try database.clock()
            guard let entry = try database.entry(id), statuses.contains(entry.status), entry.isUnclaimed(at: now) else {
                return nil
            }
            let releasesKey = status == .failed || status == .deleting
            try database.run(
                """
                UPDATE data_imports SET claim = claim + 1, claimed_until = ?, status = ?, idempotency_key = ?,
                    updated_at = CASE WHEN ? THEN ? ELSE updated_at END
                WHERE id = ?
                """,
                [
                    now.advanced(bySeconds: Int64(seconds)).databaseValue, (status ?? entry.status).rawValue.databaseValue,
                    releasesKey ? .null : entry.idempotencyKey.databaseValue, (status != nil).databaseValue, now.databaseValue,
                    id.rawValue.databaseValue,
                ])
            return try database.entry(id)
        }
    }

    /// Sets the claim to expire `seconds` from now; 0 releases it.
    /// - Returns: `false`, with nothing changed, if another worker has claimed the import since.
    public func extend(_ id: ImportID, claim: Int64, seconds: Int) async throws(StoreError) -> Bool {
        try await self.store.write { database in
            let until = seconds > 0 ? try database.clock().advanced(bySeconds: Int64(seconds)).databaseValue : .null
            try database.run(
                "UPDATE data_imports SET claimed_until = ? WHERE id = ? AND claim = ?",
                [until, id.rawValue.databaseValue, claim.databaseValue])
            return database.changesCount > 0
        }
    }

    // MARK: Detached rows

    /// Deletes all detached rows, one batch per transaction. Stops at the first failure; maintenance continues later.
    func deleteDetachedRowsInBatches() async {
        let rows = self.limits.removedRows
        while true {
            let isMore = try? await self.store.write { try $0.deleteDetachedRows(limit: rows) }
            guard isMore == true else { return }
        }
    }
}

extension Import {
    /// Whether no worker's claim on the import is valid at this time.
    func isUnclaimed(at now: Timestamp) -> Bool { self.claimedUntil.map { $0 <= now } ?? true }
}
