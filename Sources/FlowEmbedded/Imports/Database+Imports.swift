import FlowCore
import GRDB

/// Reading and writing of the import ledger's rows.
extension Database {
    /// The current time by the import ledger's clock: this machine's clock, in whole milliseconds.
    func clock() throws -> Timestamp {
        let now = try self.first("SELECT CAST(round((julianday('now') - 2440587.5) * 86400000) AS INTEGER)", []) { row in
            Timestamp(milliseconds: row[0])
        }
        guard let now else { throw UnreadableRow() }
        return now
    }

    /// The columns of an import, in the order that `Import(_:)` decodes.
    static let importColumns = """
        id, account, flow_id, file_name, source_type, status, created_at, total_records, field_summary, storage_provider,
        storage_location, storage_metadata, failure, idempotency_key, request_hash, claim, claimed_until,
        encryption
        """

    /// Reads the import; `nil` if it does not exist.
    func entry(_ id: ImportID) throws -> Import? { try self.entry("id = ?", [id.rawValue.databaseValue]) }

    /// Reads the first import that meets an SQL condition; `nil` if there is none.
    func entry(_ condition: String, _ arguments: [DatabaseValue]) throws -> Import? {
        try self.first("SELECT \(Self.importColumns) FROM data_imports WHERE \(condition)", arguments, Import.init)
    }

    /// Reads the imports that a SELECT finds.
    /// - Parameter rest: the end of the statement, from `WHERE` on.
    func entries(_ rest: String, _ arguments: [DatabaseValue]) throws -> [Import] {
        let rows = try self.rows("SELECT \(Self.importColumns) FROM data_imports \(rest)", arguments)
        var entries: [Import] = []
        while let row = try rows.next() { entries.append(try Import(row)) }
        return entries
    }

    /// Inserts a pending import with claim number 1, a claim that expires at `until`, and a new span for the import's
    /// rows.
    func insert(_ draft: ImportDraft, until: Timestamp, at now: Timestamp) throws {
        try self.run(
            """
            INSERT INTO data_imports (id, account, flow_id, file_name, source_type, status, created_at, updated_at,
                storage_provider, storage_location, idempotency_key, claim, claimed_until, announced_at, span, row_changes)
            VALUES (?, ?, ?, ?, ?, 'pending', ?, ?, ?, ?, ?, 1, ?, ?, ?, 0)
            """,
            [
                draft.id.rawValue.databaseValue, draft.account.databaseValue, (draft.flow?.rawValue).databaseValue,
                draft.fileName.databaseValue, draft.sourceType.databaseValue, draft.createdAt.databaseValue, now.databaseValue,
                draft.provider.databaseValue, draft.location.databaseValue, draft.idempotencyKey.databaseValue,
                until.databaseValue, draft.flow == nil ? now.databaseValue : .null, try self.newSpan().number.databaseValue,
            ])
    }

    /// Inserts an import of another store, with a new span for its rows; see ``ImportRestoration``.
    /// - Returns: `false` if an import has its id or its idempotency key.
    func insert(restored entry: Import, isAnnounced: Bool, until: Timestamp, at now: Timestamp) throws -> Bool {
        let isFailed = entry.status == .failed
        try self.run(
            """
            INSERT INTO data_imports (id, account, flow_id, file_name, source_type, status, created_at, updated_at,
                total_records, field_summary, storage_provider, storage_location, failure, idempotency_key, request_hash, claim,
                claimed_until, announced_at, span, row_changes)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1, ?, ?, ?, 0)
            ON CONFLICT DO NOTHING
            """,
            [
                entry.id.rawValue.databaseValue, entry.account.databaseValue, (entry.flow?.rawValue).databaseValue,
                entry.fileName.databaseValue, entry.sourceType.databaseValue,
                (isFailed ? Import.Status.failed : .deleting).rawValue.databaseValue, entry.createdAt.databaseValue,
                now.databaseValue, entry.totalRecords.databaseValue, entry.fieldSummary?.databaseValue ?? .null,
                entry.provider.databaseValue, entry.location.databaseValue, entry.failure.databaseValue,
                entry.idempotencyKey.databaseValue, entry.requestHash.databaseValue, isFailed ? .null : until.databaseValue,
                isAnnounced ? now.databaseValue : .null, try self.newSpan().number.databaseValue,
            ])
        return self.changesCount > 0
    }

    /// Makes the import `failed`, releases its claim and its idempotency key, and detaches its rows.
    func fail(_ id: ImportID, reason: String, at now: Timestamp) throws {
        _ = try self.detachRows(of: id, keepingSamples: false)
        try self.run(
            """
            UPDATE data_imports SET status = 'failed', failure = ?, storage_location = NULL, storage_metadata = NULL,
                member_index = NULL, encryption = NULL, idempotency_key = NULL, claimed_until = NULL, updated_at = ?
            WHERE id = ?
            """, [reason.databaseValue, now.databaseValue, id.rawValue.databaseValue])
    }

    /// Writes the import's result, makes the import `stored` and releases its claim. If the import is `stored` already,
    /// because its records were moved, replaces the storage metadata and the gzip member index by those of the new
    /// storage.
    func store(_ id: ImportID, _ result: ImportResult, at now: Timestamp) throws {
        try self.run(
            """
            UPDATE data_imports SET status = 'stored', failure = NULL, total_records = ?, field_summary = ?, storage_metadata = ?,
                member_index = ?, request_hash = coalesce(?, request_hash), encryption = ?, claimed_until = NULL, updated_at = ?,
                storage_location = coalesce(?, storage_location)
            WHERE id = ?
            """,
            [
                result.storage.recordCount.databaseValue, result.fieldSummary.databaseValue, result.storage.json.databaseValue,
                result.index?.json.databaseValue ?? .null, result.requestHash.databaseValue,
                result.encryption?.json.databaseValue ?? .null, now.databaseValue, result.location.databaseValue,
                id.rawValue.databaseValue,
            ])
    }

    /// Whether the claim number is the import's latest one: no other worker has claimed the import since.
    func claimHeld(_ id: ImportID, claim: Int64) throws -> Bool {
        try self.first(
            "SELECT 1 FROM data_imports WHERE id = ? AND claim = ?", [id.rawValue.databaseValue, claim.databaseValue]
        ) { _ in true } ?? false
    }
}

extension Import {
    /// Decodes the columns of `Database.importColumns`.
    init(_ row: Row) throws {
        guard let id = ImportID(row[0] as String), let status = Status(rawValue: row[5]) else { throw UnreadableRow() }
        let claimedUntil: Int64? = row[16]
        self.init(
            id: id, account: row[1], flow: (row[2] as String?).flatMap { FlowID($0) }, fileName: row[3], sourceType: row[4],
            status: status, createdAt: Timestamp(milliseconds: row[6]), totalRecords: row[7],
            fieldSummary: (row[8] as String?).map { JSONText(stored: $0) }, provider: row[9], location: row[10],
            storage: (row[11] as String?).flatMap { StorageMetadata(JSONText(stored: $0)) },
            encryption: (row[17] as String?).map { ImportEncryption(stored: try? JSONText(validating: $0.utf8)) },
            failure: row[12], idempotencyKey: row[13],
            requestHash: row[14], claim: row[15],
            claimedUntil: claimedUntil.map { Timestamp(milliseconds: $0) })
        self.hasUnreadableStorage = self.storage == nil && (row[11] as String?) != nil
    }
}
