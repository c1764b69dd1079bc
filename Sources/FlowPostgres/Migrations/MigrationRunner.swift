import Dispatch
import Foundation
public import Logging

/// Applies the migrations that a database lacks. Any number of instances may run it at the same time: an advisory lock
/// admits one at a time. The lock lasts until the end of a transaction, and so works through a pooler. An instance
/// polls the lock, because a statement that waits for a lock would keep an MVCC snapshot, and `CREATE INDEX
/// CONCURRENTLY` waits for all older snapshots.
///
/// Uses blocking connections of its own on a separate dispatch queue.
public struct MigrationRunner: Sendable {
    /// Whether a migration is applied.
    public struct Status: Hashable, Sendable {
        /// The migration's file name without extension.
        public var name: String
        public var isApplied: Bool
    }

    private let settings: PostgresSettings
    private let migrations: [Migration]
    private let logger: Logger

    /// Key of the advisory lock: "flowhub" in ASCII.
    private static let lockKey: Int64 = 0x66_6c6f_7768_7562
    /// Timeout in seconds of a migration's wait for a table lock. During the wait, later statements on the table queue
    /// behind the migration.
    private static let tableLockSeconds = 2
    /// Maximum number of attempts that end in a lock timeout, a time limit or a conflict.
    private static let maximumTries = 60
    /// Timeout in seconds for the query that reads which migrations are applied.
    private static let statusSeconds = 30
    /// Maximum seconds to wait for another instance's migrations.
    private static let lockWaitSeconds = 3_600.0

    public init(_ settings: PostgresSettings, migrations: [Migration] = Migration.all, logger: Logger) {
        self.settings = settings
        self.migrations = migrations
        self.logger = logger
    }

    /// Reads which migrations are applied, in order. Includes applied ones of a newer release, which this binary does
    /// not know.
    /// - Throws: ``PostgresError`` of code `schema` if the applied migrations do not match this binary's.
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

    /// Checks that all migrations are applied.
    /// - Throws: ``PostgresError`` of code `schema` with the first missing migration.
    public func check() async throws(PostgresError) {
        guard let missing = try await self.status().first(where: { !$0.isApplied }) else { return }
        throw PostgresError(
            .schema, "migration \(missing.name) is not applied; run `flowhub migrate`, or set FLOWHUB_MIGRATE=true")
    }

    /// Applies the missing migrations, each in one transaction.
    /// - Returns: the names of the migrations applied by this call.
    public func run() async throws(PostgresError) -> [String] {
        try await self.blocking { () throws(PostgresError) in
            // Read-only check first: a user without schema privileges can start the hub on a schema that is up to
            // date.
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
                        case .upToDate: return applied
                        case .lockedElsewhere:
                            guard Date().timeIntervalSince(start) < Self.lockWaitSeconds else {
                                throw PostgresError(.timeout, "timed out after 1 h waiting for another instance's migrations")
                            }
                            Thread.sleep(forTimeInterval: .random(in: 0.05...0.3))
                        }
                    }
                } catch {
                    // The migration gives way to transactions that use its tables: it stops waiting after a short lock
                    // timeout, and tries again.
                    tries += 1
                    guard error.code == .locked || error.code == .timeout || error.code == .conflict, tries < Self.maximumTries
                    else { throw error }
                    self.logger.notice(
                        "Migration attempt failed because of other transactions; will retry",
                        metadata: ["attempt": .stringConvertible(tries)])
                    Thread.sleep(forTimeInterval: .random(in: 0.2...1))
                }
            }
        }
    }

    /// The result of ``step(_:)``.
    private enum Step {
        /// The migration with this name was applied.
        case applied(String)
        /// No migration is missing.
        case upToDate
        /// Another instance holds the advisory lock.
        case lockedElsewhere
    }

    /// Rejects databases whose encoding cannot store all JSON that clients may send.
    private static func checkEncoding(_ connection: PostgresConnection) throws(PostgresError) {
        guard !["UTF8", "SQL_ASCII"].contains(connection.encoding) else { return }
        throw PostgresError(
            .schema,
            "the database's encoding is \(connection.encoding); create a database with ENCODING 'UTF8' TEMPLATE template0")
    }

    /// Applies the next missing migration in one transaction, if the advisory lock is free.
    private func step(_ connection: PostgresConnection) throws(PostgresError) -> Step {
        try connection.execute(
            """
            BEGIN ISOLATION LEVEL READ COMMITTED;
            SET LOCAL statement_timeout = 0;
            SET LOCAL idle_in_transaction_session_timeout = 0
            """)
        let lock = try connection.execute(Statement("SELECT pg_try_advisory_xact_lock(\(Self.lockKey))"))
        guard lock.first?.bool(0) == true else {
            try connection.execute("ROLLBACK")
            return .lockedElsewhere
        }
        try connection.execute(
            """
            CREATE TABLE IF NOT EXISTS schema_migrations (
                name text PRIMARY KEY, sha256 text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now());
            """)
        guard let next = try Self.plan(connection).pending(of: self.migrations).first else {
            try connection.execute("COMMIT")
            return .upToDate
        }
        do throws(PostgresError) {
            if let index = next.concurrentIndex {
                // The portal of the last query would keep its MVCC snapshot until the end of the transaction, and the
                // index build would wait for it. A simple query closes the portal.
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
        self.logger.notice("Applied migration", metadata: ["name": "\(next.name)"])
        return .applied(next.name)
    }

    /// Builds an index on a second connection. The transaction that holds the advisory lock has no MVCC snapshot in the
    /// meantime, so the build does not wait for that transaction. An invalid index of an interrupted build is dropped
    /// first.
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

    /// Reads which migrations are applied; none if the table `schema_migrations` does not exist.
    private static func plan(_ connection: PostgresConnection) throws(PostgresError) -> MigrationPlan {
        let statement = Statement("SELECT to_regclass('schema_migrations') IS NOT NULL")
        let exists = try connection.execute(statement, within: Self.statusSeconds).first?.bool(0)
        guard exists == true else { return MigrationPlan(applied: [:]) }
        var plan = MigrationPlan(applied: [:])
        for row in try connection.execute(Statement("SELECT name, sha256 FROM schema_migrations")).rows {
            plan.applied[row.text(0) ?? ""] = row.text(1) ?? ""
        }
        return plan
    }

    /// Runs the body on a dispatch queue. The body blocks its thread, which must not be one of Swift's cooperative
    /// thread pool.
    private func blocking<Value: Sendable>(
        _ body: @escaping @Sendable () throws(PostgresError) -> Value
    ) async throws(PostgresError) -> Value {
        let result: Result<Value, PostgresError> = await withCheckedContinuation { continuation in
            DispatchQueue(label: "flowhub.postgres.migrate").async {
                do throws(PostgresError) {
                    continuation.resume(returning: .success(try body()))
                } catch {
                    continuation.resume(returning: .failure(error))
                }
            }
        }
        return try result.get()
    }
}

extension PostgresError {
    /// Creates the error of a failed migration with the server's message. Migrations contain no secrets, and the
    /// operator needs the message to fix the problem.
    fileprivate init(failed migration: String, _ error: PostgresError) {
        self.init(.schema, "migration \(migration) failed: \(error.serverMessage ?? error.description)", state: error.state)
    }
}
