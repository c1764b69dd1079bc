import FlowCore
import GRDB

extension SQLiteFlowStore {
    /// Runs in one snapshot of the database, after comparing its epoch with the known one, if that matters to what is read.
    ///
    /// Not cancelled with its task: a reader that went away says nothing about the store, and a failed read would.
    func read<Value: Sendable>(
        checksEpoch: Bool = true, _ body: @escaping @Sendable (Database) throws -> Value
    ) async throws(StoreError) -> Value {
        try self.reads.enter()
        defer { self.reads.leave() }
        let result: Result<Value, StoreError> = await withCheckedContinuation { answer in
            self.pool.asyncRead { opened in
                do {
                    let database = try opened.get()
                    if checksEpoch { try database.check(self.known.value) }
                    let value = try body(database)
                    answer.resume(returning: .success(value))
                } catch {
                    answer.resume(returning: .failure(StoreError(rolledBack: error)))
                }
            }
        }
        return try result.get()
    }

    /// Runs in one transaction of the writer, behind whatever it has to do already. Does not look at the epoch.
    func write<Value: Sendable>(
        _ body: @escaping @Sendable (Database) throws -> Value
    ) async throws(StoreError) -> Value {
        try self.writes.enter()
        defer { self.writes.leave() }
        let result: Result<Value, StoreError> = await withCheckedContinuation { answer in
            self.pool.asyncWriteWithoutTransaction { database in
                answer.resume(returning: Self.transact(database, body))
            }
        }
        return try result.get()
    }

    private static func transact<Value: Sendable>(
        _ database: Database, _ body: (Database) throws -> Value
    ) -> Result<Value, StoreError> {
        let value: Value
        do {
            try database.beginTransaction(.immediate)
            value = try body(database)
        } catch {
            // Fails if SQLite has rolled back by itself, which is as good.
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
