import FlowCore
import GRDB

extension SQLiteFlowStore {
    /// Runs a read in one MVCC snapshot of the database.
    ///
    /// The read continues if its task is cancelled: a cancelled read would be recorded as a failure of the store,
    /// although only its client has disconnected.
    /// - Parameter checksEpoch: whether to throw `epochChanged` if the stored epoch differs from the adopted one. Reads
    ///   of the import ledger pass `false`.
    func read<Value: Sendable>(
        checksEpoch: Bool = true, _ body: @escaping @Sendable (Database) throws -> Value
    ) async throws(StoreError) -> Value {
        try self.reads.acquire()
        defer { self.reads.release() }
        let result: Result<Value, StoreError> = await withCheckedContinuation { continuation in
            self.pool.asyncRead { opened in
                do {
                    let database = try opened.get()
                    if checksEpoch { try database.check(self.adoptedEpoch.value) }
                    let value = try body(database)
                    continuation.resume(returning: .success(value))
                } catch {
                    continuation.resume(returning: .failure(StoreError(rolledBack: error)))
                }
            }
        }
        return try result.get()
    }

    /// Runs a write in one transaction on the writer connection, after the writes queued before it. Does not compare
    /// the stored epoch with the adopted one; a body that needs this calls `Database.check(_:)`.
    func write<Value: Sendable>(
        _ body: @escaping @Sendable (Database) throws -> Value
    ) async throws(StoreError) -> Value {
        try self.writes.acquire()
        defer { self.writes.release() }
        let result: Result<Value, StoreError> = await withCheckedContinuation { continuation in
            self.pool.asyncWriteWithoutTransaction { database in
                continuation.resume(returning: Self.transact(database, body))
            }
        }
        return try result.get()
    }

    /// Runs the body in one transaction, and rolls back if it throws.
    private static func transact<Value: Sendable>(
        _ database: Database, _ body: (Database) throws -> Value
    ) -> Result<Value, StoreError> {
        let value: Value
        do {
            try database.beginTransaction(.immediate)
            value = try body(database)
        } catch {
            // The rollback itself fails if SQLite has already rolled back, which has the same effect.
            try? database.rollback()
            return .failure(StoreError(rolledBack: error))
        }
        do {
            try database.commit()
            return .success(value)
        } catch {
            try? database.rollback()
            return .failure(StoreError(failedCommit: error))
        }
    }
}
