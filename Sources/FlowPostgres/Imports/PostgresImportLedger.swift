public import FlowCore

/// The import ledger in Postgres, with records as rows of the same database.
///
/// The tables belong to the legacy service: the ledger reads the rows that the legacy service wrote, and writes rows
/// that the legacy service can read; see `migrations/0004_import_ledger.sql`. Claims expire by the database's clock.
/// Changes of the ledger use the `control` connections and reads the `reads` connections. Records have connections of
/// their own, so that a large import delays neither flows nor the claims of other imports. Safe to use from any task.
public final class PostgresImportLedger: ImportLedger, ImportMaintenance, RecordStore {
    /// Limits of single statements and transactions.
    public struct Limits: Hashable, Sendable {
        /// Timeout in seconds of a statement over all rows of an import.
        public var wholeImportSeconds = 600
        /// Maximum number of rows that one transaction deletes.
        public var removedRows = 20_000
        /// Maximum total bytes of the records that one read returns. A single record above this limit is returned
        /// alone.
        public var pageBytes = 1_048_576

        public init() {}
    }

    /// The provider of imports whose records are rows of this database: `postgres`.
    public let provider = ImportSQL.provider

    let pool: PostgresPool
    let limits: Limits
    private let store: PostgresFlowStore

    public init(_ store: PostgresFlowStore, limits: Limits = .init()) {
        self.store = store
        self.pool = store.pool
        self.limits = limits
    }

    // MARK: Claims

    /// Maximum attempts of ``begin(_:claimSeconds:)``. If the insert fails because another import has the idempotency
    /// key, a further attempt follows if that import is interrupted, after its key was removed, or if it has lost the
    /// key since the insert.
    private static let beginAttempts = 5

    /// Inserts a pending import with claim 1, or returns the import of the account that has the same idempotency key.
    /// If that import is interrupted, its key is removed, and the new import is inserted.
    /// - Throws: `overloaded` if other requests with the key interfere in each of five attempts.
    public func begin(_ draft: ImportDraft, claimSeconds: Int) async throws(StoreError) -> ImportBeginResult {
        let limit = self.store.accountLimits.imports
        if limit > 0, try await self.store.usage(of: draft.account).imports >= limit {
            if draft.idempotencyKey != nil, let found = try await self.find(draft), !found.isInterrupted {
                return .found(found.entry)
            }
            return .limitReached(limit)
        }
        for _ in 0..<Self.beginAttempts {
            if let begun = try await self.insert(draft, claimSeconds: claimSeconds) { return .begun(begun) }
            guard let found = try await self.find(draft) else { continue }
            guard found.isInterrupted else { return .found(found.entry) }
            try await self.freeKey(of: found.entry.id)
        }
        throw .overloaded("too many concurrent requests with the same Idempotency-Key")
    }

    /// Inserts the import as `pending` with claim 1.
    /// - Returns: `nil` if its idempotency key is in use.
    private func insert(_ draft: ImportDraft, claimSeconds: Int) async throws(StoreError) -> Import? {
        var parameters = ParameterList()
        parameters.add(draft.id.rawValue)
        parameters.add(draft.account)
        parameters.add(draft.flow?.rawValue)
        parameters.add(draft.fileName)
        parameters.add(draft.sourceType)
        parameters.add(draft.provider)
        parameters.add(draft.location)
        parameters.add(draft.idempotencyKey)
        parameters.add(draft.createdAt)
        parameters.add(claimSeconds)
        let sql = """
            INSERT INTO data_imports AS i (id, account, client_account_id, flow_id, discovery_flow_id, file_name, source_type,
                storage_provider, storage_location, idempotency_key, created_at, updated_at, status, claim, claimed_until,
                announced_at)
            VALUES ($1::uuid, $2, hub_as_account($2), $3, hub_as_flow($3), $4, $5, $6, $7, $8, $9, clock_timestamp(), 'pending',
                1, clock_timestamp() + $10 * interval '1 second', CASE WHEN $3 IS NULL THEN clock_timestamp() END)
            ON CONFLICT (account, idempotency_key) WHERE idempotency_key IS NOT NULL DO NOTHING
            RETURNING \(ImportSQL.columns)
            """
        return try await self.change(Statement(sql, parameters)).entry()
    }

    /// Reads the import with the draft's idempotency key, and whether it is interrupted: pending, and claimed by no
    /// worker. `nil` if no import has the key.
    private func find(_ draft: ImportDraft) async throws(StoreError) -> (entry: Import, isInterrupted: Bool)? {
        var parameters = ParameterList()
        parameters.add(draft.account)
        parameters.add(draft.idempotencyKey ?? "")
        let sql = """
            SELECT \(ImportSQL.columns), \(ImportSQL.status) = 'pending' AND \(ImportSQL.isUnclaimed) FROM data_imports i
            WHERE i.account = $1 AND i.idempotency_key = $2
            """
        let result = try await self.read(Statement(sql, parameters))
        guard let row = result.first, let entry = try result.entry() else { return nil }
        return (entry, row.bool(ImportSQL.columnCount) == true)
    }

    /// Removes the idempotency key from an interrupted import, and advances its claim number so that its former worker
    /// can change nothing any more. The import sweep marks the import as failed later.
    private func freeKey(of id: ImportID) async throws(StoreError) {
        var parameters = ParameterList()
        parameters.add(id.rawValue)
        let sql = """
            UPDATE data_imports i SET claim = i.claim + 1, claimed_until = NULL, idempotency_key = NULL
            WHERE i.id = $1::uuid AND \(ImportSQL.status) = 'pending' AND \(ImportSQL.isUnclaimed)
            """
        _ = try await self.change(Statement(sql, parameters), isRetryable: true)
    }

    /// Claims an unclaimed import that has one of `statuses`, for `seconds`. Sets its status to `status`, unless that
    /// is `nil`.
    /// - Returns: the import with its new claim; `nil` if it does not exist, is claimed or has another status.
    public func claim(
        _ id: ImportID, from statuses: Set<Import.Status>, to status: Import.Status?, seconds: Int
    ) async throws(StoreError) -> Import? {
        var parameters = ParameterList()
        parameters.add(id.rawValue)
        parameters.add(statuses.map(\.rawValue))
        parameters.add(status?.rawValue)
        parameters.add(seconds)
        // The legacy service's status and provider have a meaning of their own for the hub; see ``ImportSQL``. The first
        // claim writes that meaning into the columns, which the hub reads as they are from then on.
        let sql = """
            UPDATE data_imports i SET claim = i.claim + 1, claimed_until = clock_timestamp() + $4 * interval '1 second',
                status = coalesce($3, \(ImportSQL.status)), storage_provider = \(ImportSQL.storageProvider),
                idempotency_key = CASE WHEN $3 IN ('failed', 'deleting') THEN NULL ELSE i.idempotency_key END,
                updated_at = CASE WHEN $3 IS NULL THEN i.updated_at ELSE clock_timestamp() END
            WHERE i.id = $1::uuid AND \(ImportSQL.isUnclaimed) AND \(ImportSQL.status) = ANY ($2)
            RETURNING \(ImportSQL.columns)
            """
        return try await self.change(Statement(sql, parameters)).entry()
    }

    /// Sets the claim to expire `seconds` from now by the database's clock; 0 releases it.
    /// - Returns: `false`, with nothing changed, if another worker has claimed the import since.
    public func extend(_ id: ImportID, claim: Int64, seconds: Int) async throws(StoreError) -> Bool {
        var parameters = ParameterList()
        parameters.add(id.rawValue)
        parameters.add(claim)
        parameters.add(seconds)
        let sql = """
            UPDATE data_imports SET claimed_until = CASE WHEN $3 > 0 THEN clock_timestamp() + $3 * interval '1 second' END
            WHERE id = $1::uuid AND claim = $2 RETURNING 1
            """
        return try await self.change(Statement(sql, parameters), isRetryable: true).rowCount > 0
    }

    // MARK: Statements

    /// Runs a statement that changes the ledger and no records.
    func change(_ statement: Statement, isRetryable: Bool = false) async throws(StoreError) -> ResultSet {
        try await self.run(.control, statement, isRetryable: isRetryable)
    }

    /// Runs a statement that reads the ledger and no records.
    func read(_ statement: Statement) async throws(StoreError) -> ResultSet {
        try await self.read(.reads, [statement])[0]
    }

    /// Runs a statement as one transaction on a connection of the workload.
    /// - Parameter seconds: statement timeout; `nil`: the one of the settings.
    func run(
        _ workload: PoolWorkload, _ statement: Statement, isRetryable: Bool = false, seconds: Int? = nil
    ) async throws(StoreError) -> ResultSet {
        do throws(PoolFailure) {
            return try await self.pool.run(workload, [statement], isRetryable: isRetryable, seconds: seconds)[0]
        } catch {
            throw StoreError(error)
        }
    }

    /// Runs statements that only read, as one transaction on a connection of the workload. They are sent once more if
    /// the connection is lost.
    /// - Parameter seconds: statement timeout; `nil`: the one of the settings.
    func read(
        _ workload: PoolWorkload, _ statements: [Statement], seconds: Int? = nil
    ) async throws(StoreError) -> [ResultSet] {
        do throws(PoolFailure) {
            return try await self.pool.run(workload, statements, isRetryable: true, seconds: seconds)
        } catch {
            throw StoreError(error.withoutEffect(.isRead))
        }
    }
}
