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

    let settings: PostgresSettings
    let migrations: [Migration]
    let logger: Logger

    /// Key of the advisory lock: "flowhub" in ASCII.
    private static let lockKey: Int64 = 0x66_6c6f_7768_7562
    /// Timeout in seconds of a migration's wait for a table lock. During the wait, later statements on the table queue
    /// behind the migration.
    private static let tableLockSeconds = 2
    /// Maximum number of attempts that end in a lock timeout, a time limit or a conflict.
    private static let maximumTries = 60
    /// Timeout in seconds for the query that reads which migrations are applied.
    static let statusSeconds = 30
    /// Maximum seconds to wait for another instance's migrations.
    private static let lockWaitSeconds = 3_600.0

    public init(_ settings: PostgresSettings, migrations: [Migration] = Migration.all, logger: Logger) {
        self.settings = settings
        self.migrations = migrations
        self.logger = logger
    }

    /// Reads which migrations are applied, in order. Includes applied ones of a newer release, which this binary does
    /// not know.
    /// - Throws: ``PostgresError`` of code `schema` if the applied migrations do not match this binary's, or if the database has
    ///   something because of which the missing ones cannot be applied.
    public func status() async throws(PostgresError) -> [Status] {
        try await self.blocking { () throws(PostgresError) in
            let connection = try PostgresConnection(self.settings)
            let layout = try SchemaLayout.read(connection, schema: self.settings.schema)
            let plan = try self.plan(connection, layout)
            let missing = try plan.pending(of: self.migrations)
            try self.conflicts(connection, layout, missing).check(mayChange: false)
            let pending = Set(missing.map(\.name))
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
            // Read-only checks first: a user without schema privileges can start the hub on a schema that is up to
            // date, and nothing is changed in a database where a later migration would fail.
            guard try self.mayMigrate() else { return [] }
            var applied: [String] = []
            var tries = 0
            let start = Date()
            while true {
                do throws(PostgresError) {
                    let connection = try PostgresConnection(self.settings)
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

    /// Whether migrations are missing.
    /// - Throws: code `schema` if they cannot be applied to this database.
    private func mayMigrate() throws(PostgresError) -> Bool {
        let connection = try PostgresConnection(self.settings)
        var missing = Int.max
        while true {
            let layout = try SchemaLayout.read(connection, schema: self.settings.schema)
            let pending = try self.plan(connection, layout).pending(of: self.migrations)
            if pending.isEmpty { return false }
            try Self.checkEncoding(connection)
            let conflict: PostgresError
            do throws(PostgresError) {
                try self.conflicts(connection, layout, pending).check(mayChange: true)
                return true
            } catch {
                conflict = error
            }
            // Objects of migrations that another instance has applied since the plan was read are no conflict.
            guard pending.count < missing else { throw conflict }
            missing = pending.count
        }
    }

    private func conflicts(_ connection: PostgresConnection, _ layout: SchemaLayout, _ pending: [Migration]) -> SchemaConflicts {
        SchemaConflicts(connection: connection, layout: layout, schema: self.settings.schema, pending: pending)
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

    /// Begins the transaction of a migration.
    /// - Returns: whether this instance may change the schema until the end of the transaction; if not, the transaction has ended.
    func beginExclusively(_ connection: PostgresConnection) throws(PostgresError) -> Bool {
        try connection.execute(
            """
            BEGIN ISOLATION LEVEL READ COMMITTED;
            SET LOCAL statement_timeout = 0;
            SET LOCAL idle_in_transaction_session_timeout = 0
            """)
        let lock = try connection.execute(Statement("SELECT pg_try_advisory_xact_lock(\(Self.lockKey))"))
        if lock.first?.bool(0) == true { return true }
        try connection.execute("ROLLBACK")
        return false
    }

    /// Applies the next missing migration in one transaction, if the advisory lock is free.
    private func step(_ connection: PostgresConnection) throws(PostgresError) -> Step {
        guard try self.beginExclusively(connection) else { return .lockedElsewhere }
        let layout = try SchemaLayout.read(connection, schema: self.settings.schema)
        if !layout.exists { try connection.execute("CREATE SCHEMA \(SearchPath.quoted(layout.hub))") }
        try connection.execute(
            """
            CREATE TABLE IF NOT EXISTS \(layout.migrationsTable) (
                name text PRIMARY KEY, sha256 text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now());
            """)
        guard let next = try self.plan(connection, layout).pending(of: self.migrations).first else {
            try connection.execute("COMMIT")
            return .upToDate
        }
        do throws(PostgresError) {
            if let index = next.concurrentIndex {
                try self.buildIndex(index, next, layout, beside: connection)
            } else {
                try connection.execute("SET LOCAL lock_timeout = '\(Self.tableLockSeconds)s'")
                try self.apply(next, layout, connection)
            }
        } catch {
            throw [.locked, .timeout, .conflict].contains(error.code) ? error : PostgresError(failed: next.name, error)
        }
        var parameters = ParameterList()
        parameters.add(next.name)
        parameters.add(next.sha256)
        _ = try connection.execute(
            Statement("INSERT INTO \(layout.migrationsTable) (name, sha256) VALUES ($1, $2)", parameters))
        try connection.execute("COMMIT")
        self.logger.notice("Applied migration", metadata: ["name": "\(next.name)"])
        return .applied(next.name)
    }

    /// Runs a migration's statements in the current transaction. With a schema of its own, the hub's objects are created there.
    private func apply(_ migration: Migration, _ layout: SchemaLayout, _ connection: PostgresConnection) throws(PostgresError) {
        let statements = [migration.sql] + self.migrations.filter { $0.name == migration.completedBy }.map(\.sql)
        guard self.settings.schema != nil else {
            for sql in statements { try connection.execute(sql) }
            return
        }
        let places = migration.createsInImportSchema ? [layout.imports, layout.hub] : [layout.hub]
        try connection.execute("SELECT \(SearchPath.beginning(with: places, isLocal: true))")
        for sql in statements { try connection.execute(sql) }
        try connection.execute(SchemaMove.settle(from: layout.imports, to: layout.hub))
    }

    /// Builds an index on a second connection. The transaction that holds the advisory lock has no MVCC snapshot in the
    /// meantime, so the build does not wait for that transaction. An invalid index of an interrupted build is dropped
    /// first. The table is qualified: the search path cannot be set for one statement outside a transaction, and through a
    /// pooler not for a session.
    private func buildIndex(
        _ index: String, _ migration: Migration, _ layout: SchemaLayout, beside holder: PostgresConnection
    ) throws(PostgresError) {
        guard let object = CreatedObject.all(in: migration.sql).first, object.name == index, !object.table.isEmpty else {
            throw PostgresError(.schema, "the file creates no index \(index)")
        }
        // The portal of the last query would keep its MVCC snapshot until the end of the transaction, and the index build would
        // wait for it. A simple query closes the portal.
        try holder.execute("SELECT 1")
        let place = layout.schema(of: object)
        let connection = try PostgresConnection(self.settings)
        var parameters = ParameterList()
        parameters.add(index)
        parameters.add(place)
        let invalid = try connection.execute(
            Statement(
                """
                SELECT 1 FROM pg_class c JOIN pg_index i ON i.indexrelid = c.oid JOIN pg_namespace n ON n.oid = c.relnamespace
                WHERE c.relname = $1 AND n.nspname = $2 AND NOT i.indisvalid
                """, parameters))
        let quoted = SearchPath.quoted(place)
        if invalid.rowCount > 0 { try connection.execute("DROP INDEX CONCURRENTLY IF EXISTS \(quoted).\(index)") }
        try connection.execute(
            migration.sql.replacing("ON \(object.table)", with: "ON \(quoted).\(object.table)", maxReplacements: 1))
    }

    /// Reads which migrations are applied; none if the table `schema_migrations` does not exist.
    /// - Throws: code `schema` if that table belongs to another program.
    func plan(_ connection: PostgresConnection, _ layout: SchemaLayout) throws(PostgresError) -> MigrationPlan {
        var plan = MigrationPlan(applied: [:])
        guard try SchemaConflicts.checkMigrationsTable(connection, layout, self.settings.schema) else { return plan }
        for row in try connection.execute(Statement("SELECT name, sha256 FROM \(layout.migrationsTable)")).rows {
            plan.applied[row.text(0) ?? ""] = row.text(1) ?? ""
        }
        return plan
    }

    /// Runs the body on a dispatch queue. The body blocks its thread, which must not be one of Swift's cooperative
    /// thread pool.
    func blocking<Value: Sendable>(
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
