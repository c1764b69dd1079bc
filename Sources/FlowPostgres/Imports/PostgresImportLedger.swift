public import FlowCore

/// The import ledger in Postgres, with records as rows of the same database.
///
/// The tables belong to a legacy service: the ledger reads what that service wrote, and writes what it reads; see
/// `migrations/0004_import_ledger.sql`. Claims expire by the database's clock. Changes of the ledger use the
/// `control` connections and reads the `reads` connections. Records have connections of their own, so that a large
/// import delays neither flows nor the claims of other imports. Safe to use from any task.
public final class PostgresImportLedger: ImportLedger, ImportMaintenance, RecordStore {
    public struct Limits: Hashable, Sendable {
        /// Timeout in seconds of a statement over all rows of an import.
        public var wholeImportSeconds = 600
        /// Rows that are deleted in one transaction.
        public var removedRows = 20_000
        /// Maximum bytes of the records in one page; a single larger record is a page by itself.
        public var pageBytes = 1_048_576

        public init() {}
    }

    public let provider = ImportSQL.provider

    let pool: PostgresPool
    let limits: Limits

    public init(_ store: PostgresFlowStore, limits: Limits = .init()) {
        self.pool = store.pool
        self.limits = limits
    }

    // MARK: Claims

    /// Attempts of ``begin(_:claimSeconds:)`` if its idempotency key changes hands in between.
    private static let beginAttempts = 5

    public func begin(_ draft: ImportDraft, claimSeconds: Int) async throws(StoreError) -> ImportBeginResult {
        for _ in 0..<Self.beginAttempts {
            if let begun = try await self.insert(draft, claimSeconds: claimSeconds) { return .begun(begun) }
            guard let found = try await self.find(draft) else { continue }
            guard found.isInterrupted else { return .found(found.entry) }
            try await self.freeKey(of: found.entry.id)
        }
        throw .overloaded("too many concurrent requests with this key")
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

    /// The import under the draft's idempotency key, and whether it is interrupted: pending, and claimed by no
    /// worker. `nil` if there is none.
    private func find(_ draft: ImportDraft) async throws(StoreError) -> (entry: Import, isInterrupted: Bool)? {
        var parameters = ParameterList()
        parameters.add(draft.account)
        parameters.add(draft.idempotencyKey ?? "")
        let sql = """
            SELECT \(ImportSQL.columns), i.status = 'pending' AND \(ImportSQL.isUnclaimed) FROM data_imports i
            WHERE i.account = $1 AND i.idempotency_key = $2
            """
        let result = try await self.read(Statement(sql, parameters))
        guard let row = result.first, let entry = try result.entry() else { return nil }
        return (entry, row.bool(ImportSQL.columnCount) == true)
    }

    /// Releases the key of an interrupted import and advances its claim number, so that its worker changes nothing
    /// any more. The import sweep cleans up.
    private func freeKey(of id: ImportID) async throws(StoreError) {
        var parameters = ParameterList()
        parameters.add(id.rawValue)
        let sql = """
            UPDATE data_imports i SET claim = i.claim + 1, claimed_until = NULL, idempotency_key = NULL
            WHERE i.id = $1::uuid AND i.status = 'pending' AND \(ImportSQL.isUnclaimed)
            """
        _ = try await self.change(Statement(sql, parameters), isRetryable: true)
    }

    public func claim(
        _ id: ImportID, from statuses: Set<Import.Status>, to status: Import.Status?, seconds: Int
    ) async throws(StoreError) -> Import? {
        var parameters = ParameterList()
        parameters.add(id.rawValue)
        parameters.add(statuses.map(\.rawValue))
        parameters.add(status?.rawValue)
        parameters.add(seconds)
        // The first claim stores the meaning of the legacy service's status and provider. From then on they are the
        // hub's.
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

    func run(
        _ workload: PoolWorkload, _ statement: Statement, isRetryable: Bool = false, seconds: Int? = nil
    ) async throws(StoreError) -> ResultSet {
        do throws(PoolFailure) {
            return try await self.pool.run(workload, [statement], isRetryable: isRetryable, seconds: seconds)[0]
        } catch {
            throw StoreError(error)
        }
    }

    func read(
        _ workload: PoolWorkload, _ statements: [Statement], seconds: Int? = nil
    ) async throws(StoreError) -> [ResultSet] {
        do throws(PoolFailure) {
            return try await self.pool.run(workload, statements, isRetryable: true, seconds: seconds)
        } catch {
            // A read changes nothing, so its outcome is never unknown.
            throw StoreError(PoolFailure(error.error))
        }
    }
}
