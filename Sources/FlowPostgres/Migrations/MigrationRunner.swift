import Dispatch
import Foundation
public import Logging

/// Brings the schema up to date. Any number of instances may do it at once: an advisory lock, held by a transaction, lets one
/// after the other in, so it works through a pooler as well. It is tried for, never waited for: who waits in a statement has a
/// snapshot, and an index that is built beside its table waits for every snapshot.
///
/// Works on connections of its own that block, on a queue of its own.
public struct MigrationRunner: Sendable {
    public struct Status: Hashable, Sendable {
        public var name: String
        public var isApplied: Bool
    }

    private let settings: PostgresSettings
    private let migrations: [Migration]
    private let logger: Logger

    /// Of the advisory lock: "flowhub" in ASCII.
    private static let lockKey: Int64 = 0x66_6c6f_7768_7562
    /// How long a statement may wait for a lock on a table in use: while it waits, everybody behind it does.
    private static let tableLockSeconds = 2
    private static let maximumTries = 60
    /// How long a server may take to say what is applied.
    private static let lookSeconds = 30
    /// How long another instance may take for its migrations.
    private static let turnSeconds = 3_600.0

    public init(_ settings: PostgresSettings, migrations: [Migration] = Migration.all, logger: Logger) {
        self.settings = settings
        self.migrations = migrations
        self.logger = logger
    }

    /// What is applied and what is not.
    public func status() async throws(PostgresError) -> [Status] {
        try await self.blocking { () throws(PostgresError) in
            let connection = try PostgresConnection(self.settings)
            let plan = try Self.plan(connection)
            let pending = Set(try plan.pending(of: self.migrations).map(\.name))
            let known = self.migrations.map { Status(name: $0.name, isApplied: !pending.contains($0.name)) }
            let newer = plan.applied.keys.filter { name in !self.migrations.contains { $0.name == name } }.sorted()
            return known + newer.map { Status(name: $0, isApplied: true) }
        }
    }

    /// - Throws: if a migration is missing.
    public func check() async throws(PostgresError) {
        guard let missing = try await self.status().first(where: { !$0.isApplied }) else { return }
        throw PostgresError(
            .schema, "the database lacks the migration \(missing.name); run `flowhub migrate`, or set FLOWHUB_MIGRATE=true")
    }

    /// Applies what is missing. - Returns: the names of what was applied now.
    public func run() async throws(PostgresError) -> [String] {
        try await self.blocking { () throws(PostgresError) in
            // A look first: a hub whose user may not change the schema must be able to start on one that is up to date.
            if try Self.plan(PostgresConnection(self.settings)).pending(of: self.migrations).isEmpty { return [] }
            var applied: [String] = []
            var tries = 0
            let start = Date()
            while true {
                do throws(PostgresError) {
                    let connection = try PostgresConnection(self.settings)
                    try Self.checkEncoding(connection)
                    while true {
                        switch try self.step(connection) {
                        case .applied(let name): applied.append(name)
                        case .nothingLeft: return applied
                        case .notMyTurn:
                            guard Date().timeIntervalSince(start) < Self.turnSeconds else {
                                throw PostgresError(.timeout, "another instance has been migrating for an hour")
                            }
                            Thread.sleep(forTimeInterval: .random(in: 0.05...0.3))
                        }
                    }
                } catch {
                    // A table in use is tried for again, since those who use it come first.
                    tries += 1
                    guard error.code == .locked || error.code == .timeout || error.code == .conflict, tries < Self.maximumTries
                    else { throw error }
                    self.logger.notice("A migration waits for tables in use", metadata: ["tries": "\(tries)"])
                    Thread.sleep(forTimeInterval: .random(in: 0.2...1))
                }
            }
        }
    }

    private enum Step {
        case applied(String)
        case nothingLeft
        case notMyTurn
    }

    /// A database of another encoding would refuse some of what publishers send.
    private static func checkEncoding(_ connection: PostgresConnection) throws(PostgresError) {
        guard !["UTF8", "SQL_ASCII"].contains(connection.encoding) else { return }
        throw PostgresError(
            .schema, "the database's encoding is \(connection.encoding); create one with ENCODING 'UTF8' TEMPLATE template0")
    }

    /// Applies the next one.
    private func step(_ connection: PostgresConnection) throws(PostgresError) -> Step {
        try connection.execute(
            """
            BEGIN ISOLATION LEVEL READ COMMITTED;
            SET LOCAL statement_timeout = 0;
            SET LOCAL idle_in_transaction_session_timeout = 0
            """)
        let turn = try connection.execute(Statement("SELECT pg_try_advisory_xact_lock(\(Self.lockKey))"))
        guard turn.first?.bool(0) == true else {
            try connection.execute("ROLLBACK")
            return .notMyTurn
        }
        try connection.execute(
            """
            CREATE TABLE IF NOT EXISTS schema_migrations (
                name text PRIMARY KEY, sha256 text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now());
            """)
        guard let next = try Self.plan(connection).pending(of: self.migrations).first else {
            try connection.execute("COMMIT")
            return .nothingLeft
        }
        do throws(PostgresError) {
            if let index = next.concurrentIndex {
                // The last read's portal would keep its snapshot to the transaction's end, and the index would wait for that.
                // A simple query drops it.
                try connection.execute("SELECT 1")
                try self.buildIndex(index, next)
            } else {
                try connection.execute("SET LOCAL lock_timeout = '\(Self.tableLockSeconds)s'")
                try connection.execute(next.sql)
            }
        } catch {
            throw [.locked, .timeout, .conflict].contains(error.code) ? error : PostgresError(failed: next.name, error)
        }
        var parameters = ParameterList()
        parameters.add(next.name)
        parameters.add(next.sha256)
        _ = try connection.execute(Statement("INSERT INTO schema_migrations (name, sha256) VALUES ($1, $2)", parameters))
        try connection.execute("COMMIT")
        self.logger.notice("Applied a migration", metadata: ["name": "\(next.name)"])
        return .applied(next.name)
    }

    /// Beside the transaction that holds the lock: it has no snapshot while it waits, so this does not wait for it.
    private func buildIndex(_ index: String, _ migration: Migration) throws(PostgresError) {
        let connection = try PostgresConnection(self.settings)
        var parameters = ParameterList()
        parameters.add(index)
        let invalid = try connection.execute(
            Statement(
                """
                SELECT 1 FROM pg_class c JOIN pg_index i ON i.indexrelid = c.oid
                WHERE c.relname = $1 AND NOT i.indisvalid AND pg_table_is_visible(c.oid)
                """, parameters))
        if invalid.rowCount > 0 { try connection.execute("DROP INDEX CONCURRENTLY IF EXISTS \(index)") }
        try connection.execute(migration.sql)
    }

    private static func plan(_ connection: PostgresConnection) throws(PostgresError) -> MigrationPlan {
        let look = Statement("SELECT to_regclass('schema_migrations') IS NOT NULL")
        let exists = try connection.execute(look, within: Self.lookSeconds).first?.bool(0)
        guard exists == true else { return MigrationPlan(applied: [:]) }
        var plan = MigrationPlan(applied: [:])
        for row in try connection.execute(Statement("SELECT name, sha256 FROM schema_migrations")).rows {
            plan.applied[row.text(0) ?? ""] = row.text(1) ?? ""
        }
        return plan
    }

    private func blocking<Value: Sendable>(
        _ body: @escaping @Sendable () throws(PostgresError) -> Value
    ) async throws(PostgresError) -> Value {
        let result: Result<Value, PostgresError> = await withCheckedContinuation { answer in
            DispatchQueue(label: "flowhub.postgres.migrate").async {
                do throws(PostgresError) {
                    answer.resume(returning: .success(try body()))
                } catch {
                    answer.resume(returning: .failure(error))
                }
            }
        }
        return try result.get()
    }
}

extension PostgresError {
    /// A migration holds no secret, and without the server's words nobody could mend it.
    fileprivate init(failed migration: String, _ error: PostgresError) {
        self.init(.schema, "migration \(migration) failed: \(error.serverMessage ?? error.description)", state: error.state)
    }
}
