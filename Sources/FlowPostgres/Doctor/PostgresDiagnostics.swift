import Dispatch
public import FlowCore
import Foundation
public import Logging

/// Checks whether the hub can run on a database, and what its operator should change. Changes nothing in the database.
public struct PostgresDiagnostics: Sendable {
    /// The oldest server version that supports the hub's SQL: 13.0.
    private static let oldestServer = 130_000
    /// The oldest server version that the hub is tested with: 15.0.
    private static let oldestTested = 150_000
    /// Maximum difference between the clocks of this machine and the database in seconds. Beyond it, the instances
    /// disagree about the expiry of locks and about timestamps.
    private static let tolerableSkew = 2.0

    let settings: PostgresSettings
    private let logger: Logger

    public init(_ settings: PostgresSettings, logger: Logger) {
        self.settings = settings
        self.logger = logger
    }

    /// Runs all checks.
    /// - Returns: the findings, one or more per check. If a check has the result "failure", the migrations are not
    ///   checked. If the connection or a statement fails, the remaining checks are skipped.
    public func run() async -> [DoctorFinding] {
        let settings = self.settings
        var findings: [DoctorFinding] = await withCheckedContinuation { continuation in
            DispatchQueue(label: "flowhub.postgres.examine").async { continuation.resume(returning: Self.examine(settings)) }
        }
        guard !findings.contains(where: { $0.level == .failure }) else { return findings }
        findings.append(await self.migrations())
        return findings
    }

    /// Runs all checks except that of the migrations, on one connection. Blocks the calling thread.
    private static func examine(_ settings: PostgresSettings) -> [DoctorFinding] {
        let connection: PostgresConnection
        do throws(PostgresError) {
            connection = try PostgresConnection(settings)
        } catch {
            return [DoctorFinding(.failure, "postgres.connection", error.explanation, advice: Self.advice(for: error))]
        }
        var findings = [Self.connection(connection)]
        do throws(PostgresError) {
            findings.append(Self.version(connection))
            findings.append(Self.encoding(connection))
            let pooler = try Self.pooler(connection, settings)
            findings.append(pooler)
            // The pooler has closed the connection.
            if pooler.level == .failure { return findings }
            findings += try Self.role(connection, settings)
            findings.append(try Self.rights(connection, settings))
            findings.append(try Self.clock(connection))
            findings.append(try Self.durability(connection))
            findings.append(try Self.connectionLimit(connection, settings))
        } catch {
            findings.append(
                DoctorFinding(
                    .failure, "postgres.statements", error.explanation, advice: Self.advice(for: error)))
        }
        return findings
    }

    /// What the operator should do about a failed connection or statement.
    private static func advice(for error: PostgresError) -> String {
        switch error.code {
        case .credentials: "Check user, password and database in DATABASE_URL, and the server's pg_hba.conf."
        case .connection: "Check host and port in DATABASE_URL, that the server is running, and that no firewall blocks it."
        default: "See the log of the database server."
        }
    }

    // MARK: Checks

    /// Warns if the connection to another machine is not encrypted.
    private static func connection(_ connection: PostgresConnection) -> DoctorFinding {
        let isLocal = connection.host.hasPrefix("/") || connection.host == "localhost" || connection.host.hasPrefix("127.")
        let target = "\(connection.user)@\(connection.host)/\(connection.database)"
        if connection.isEncrypted { return DoctorFinding(.ok, "postgres.connection", "connected to \(target), encrypted") }
        if isLocal { return DoctorFinding(.ok, "postgres.connection", "connected to \(target)") }
        return DoctorFinding(
            .warning, "postgres.connection", "connected to \(target), traffic is not encrypted",
            advice:
                "Add sslmode=verify-full&sslrootcert=/etc/ssl/certs/ca-certificates.crt to DATABASE_URL. "
                + "sslmode=require encrypts, but does not verify the server.")
    }

    /// Checks the server's version: a failure below PostgreSQL 13, a warning below 15.
    private static func version(_ connection: PostgresConnection) -> DoctorFinding {
        let version = connection.serverVersion
        let text = "the server runs PostgreSQL \(version / 10_000).\(version % 10_000)"
        if version < Self.oldestServer {
            return DoctorFinding(
                .failure, "postgres.version", text,
                advice: "Upgrade the server. The hub needs PostgreSQL 13 or later and is tested with 15.")
        }
        if version < Self.oldestTested {
            return DoctorFinding(
                .warning, "postgres.version", text, advice: "Upgrade if you can: the hub is tested with PostgreSQL 15.")
        }
        return DoctorFinding(.ok, "postgres.version", text)
    }

    /// Fails unless the database's encoding can store all JSON. Warns about SQL_ASCII, which stores any bytes.
    private static func encoding(_ connection: PostgresConnection) -> DoctorFinding {
        let advice = "Create the database with ENCODING 'UTF8' TEMPLATE template0: other encodings reject some valid JSON."
        switch connection.encoding {
        case "UTF8": return DoctorFinding(.ok, "postgres.encoding", "the database's encoding is UTF8")
        case "SQL_ASCII":
            return DoctorFinding(
                .warning, "postgres.encoding", "the database's encoding is SQL_ASCII, which does not validate text",
                advice: advice)
        default:
            return DoctorFinding(
                .failure, "postgres.encoding", "the database's encoding is \(connection.encoding)", advice: advice)
        }
    }

    /// Checks that the user has the privileges that `flowhub serve` needs on the existing tables.
    private static func rights(
        _ connection: PostgresConnection, _ settings: PostgresSettings
    ) throws(PostgresError) -> DoctorFinding {
        // Not by the search path: through a pooler it lasts for one transaction.
        let layout = try SchemaLayout.read(connection, schema: settings.schema)
        let shared = CreatedObject.importTables.sorted()
        let own = [
            "flows", "flow_events", "flow_outbox", "idempotency", "revocations", "hub_locks", "hub_tasks", "account_usage",
            "ended_versions",
        ]
        let place = SearchPath.quoted(layout.hub)
        var parameters = ParameterList()
        parameters.add(own.map { "\(place).\($0)" } + shared.map { "\(SearchPath.quoted(layout.imports)).\($0)" })
        parameters.add("\(place).hub_meta")
        parameters.add("\(place).hub_fencing")
        let missing = try connection.execute(
            Statement(
                """
                SELECT string_agg(name || ' (' || need || ')', ', ') FROM (
                    SELECT c.relname::text AS name, r.need FROM unnest($1) AS t (name) JOIN pg_class c ON c.oid = to_regclass(t.name),
                        (VALUES ('SELECT'), ('INSERT'), ('UPDATE'), ('DELETE')) AS r (need)
                    WHERE NOT has_table_privilege(c.oid, r.need)
                    UNION ALL
                    SELECT 'hub_meta', 'UPDATE' WHERE to_regclass($2) IS NOT NULL AND NOT has_table_privilege(to_regclass($2), 'UPDATE')
                    UNION ALL
                    SELECT 'hub_fencing', 'UPDATE' WHERE to_regclass($3) IS NOT NULL
                        AND NOT has_sequence_privilege(to_regclass($3), 'UPDATE')
                ) lacking
                """, parameters)
        ).first?.text(0)
        guard let missing else {
            return DoctorFinding(
                .ok, "postgres.rights", "the database user has all privileges that `flowhub serve` needs")
        }
        return DoctorFinding(
            .failure, "postgres.rights", "the database user lacks privileges: \(missing)",
            advice: "Grant them to the user: see \"The database and its user\" in docs/OPERATIONS.md.")
    }

    /// Reports whether a pooler is between the hub and the server. Fails if it does not support transactions.
    private static func pooler(
        _ connection: PostgresConnection, _ settings: PostgresSettings
    ) throws(PostgresError) -> DoctorFinding {
        switch try Connector.prepare(connection, .control, settings).mode {
        case .direct:
            DoctorFinding(
                .ok, "postgres.pooler", "no pooler detected: statements are prepared, timeouts apply to the session")
        case .pooled:
            Self.supportsTransactions(connection)
                ? DoctorFinding(
                    .ok, "postgres.pooler", "a pooler was detected: no prepared statements, timeouts per transaction")
                : DoctorFinding(
                    .failure, "postgres.pooler", "a pooler was detected that rejects transactions (statement mode)",
                    advice: "Set its pool_mode to transaction or session, or set DATABASE_URL to the server itself.")
        }
    }

    /// Whether the connection accepts a transaction of several statements. PgBouncer in statement mode rejects `BEGIN`.
    private static func supportsTransactions(_ connection: PostgresConnection) -> Bool {
        do throws(PostgresError) {
            try connection.execute("BEGIN")
            try connection.execute("COMMIT")
            return true
        } catch {
            return false
        }
    }

    /// Fails if the server or the user's transactions are read-only, if no schema exists, or if the user may not use that of
    /// `FLOWHUB_PG_SCHEMA`. Warns if the user may not create tables.
    private static func role(
        _ connection: PostgresConnection, _ settings: PostgresSettings
    ) throws(PostgresError) -> [DoctorFinding] {
        var parameters = ParameterList()
        parameters.add(settings.schema)
        let row = try connection.execute(
            Statement(
                """
                SELECT pg_is_in_recovery(), current_setting('default_transaction_read_only') = 'on',
                    coalesce(has_schema_privilege(n.oid, 'CREATE'), has_database_privilege(current_database(), 'CREATE')),
                    coalesce($1, current_schema()::text), n.oid IS NULL OR has_schema_privilege(n.oid, 'USAGE')
                FROM (SELECT) one LEFT JOIN pg_namespace n ON n.nspname = coalesce($1, current_schema()::text)
                """, parameters)
        ).first
        if row?.bool(0) == true {
            return [
                DoctorFinding(
                    .failure, "postgres.role", "the server is a standby and rejects writes",
                    advice: "Set DATABASE_URL to the primary, or to all servers with target_session_attrs=read-write.")
            ]
        }
        if row?.bool(1) == true {
            return [
                DoctorFinding(
                    .failure, "postgres.role", "transactions of the hub's user are read-only by default",
                    advice: "Set default_transaction_read_only to off for this user.")
            ]
        }
        guard let schema = row?.text(3) else {
            return [
                DoctorFinding(
                    .failure, "postgres.role", "no schema of the database user's search_path exists",
                    advice: "Set search_path of the user to an existing schema.")
            ]
        }
        guard row?.bool(4) == true else {
            return [
                DoctorFinding(
                    .failure, "postgres.role", "the user may not use the schema \(schema)",
                    advice: "GRANT USAGE ON SCHEMA \(schema) to the user.")
            ]
        }
        if row?.bool(2) == true {
            return [DoctorFinding(.ok, "postgres.role", "the server is a primary; tables are in schema \(schema)")]
        }
        return [
            DoctorFinding(
                .warning, "postgres.role", "the server is a primary; the user may not create tables in schema \(schema)",
                advice: "Run `flowhub migrate` as another user and set FLOWHUB_MIGRATE=false. Serving needs no CREATE.")
        ]
    }

    /// Warns if the clocks of this machine and the database differ by more than 2 s.
    private static func clock(_ connection: PostgresConnection) throws(PostgresError) -> DoctorFinding {
        let before = Date().timeIntervalSince1970
        let serverTime = try connection.execute(
            Statement("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::int8")
        ).first?.int64(0)
        let localTime = (before + Date().timeIntervalSince1970) / 2
        let skew = abs(Double(serverTime ?? 0) / 1_000 - localTime)
        let text = "the clocks of the database and this machine differ by \(Int(skew * 1_000)) ms"
        if skew <= Self.tolerableSkew { return DoctorFinding(.ok, "postgres.clock", text) }
        return DoctorFinding(
            .warning, "postgres.clock", text,
            advice: "Synchronize both clocks by NTP: an instance whose clock differs removes no old history.")
    }

    /// Warns if settings of the server allow a crash to lose commits.
    private static func durability(_ connection: PostgresConnection) throws(PostgresError) -> DoctorFinding {
        let row = try connection.execute(
            Statement(
                "SELECT current_setting('fsync'), current_setting('synchronous_commit'), current_setting('full_page_writes')")
        ).first
        let off = [("fsync", row?.text(0)), ("synchronous_commit", row?.text(1)), ("full_page_writes", row?.text(2))]
            .filter { $0.1 == "off" }.map(\.0)
        if off.isEmpty {
            return DoctorFinding(
                .ok, "postgres.durability", "commits survive a crash: no durability setting of the server is off")
        }
        return DoctorFinding(
            .warning, "postgres.durability", "settings of the server are off: \(off.joined(separator: ", "))",
            advice: "Turn these settings on: without them, a crash of the server's machine may lose acknowledged changes.")
    }

    /// Warns if the server's connection limit leaves fewer connections than one more instance needs.
    private static func connectionLimit(
        _ connection: PostgresConnection, _ settings: PostgresSettings
    ) throws(PostgresError) -> DoctorFinding {
        let row = try connection.execute(
            Statement(
                """
                SELECT current_setting('max_connections')::int8 - current_setting('superuser_reserved_connections')::int8,
                    (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend')
                """)
        ).first
        let (most, used) = (row?.int64(0) ?? 0, row?.int64(1) ?? 0)
        let needed = PoolWorkload.allCases.reduce(0) { $0 + $1.connections(settings) } + 2
        let text = "\(used) of the server's \(most) connections are in use; an instance needs up to \(needed)"
        if used + Int64(needed) <= most { return DoctorFinding(.ok, "postgres.room", text) }
        return DoctorFinding(
            .warning, "postgres.room", text,
            advice: "Raise max_connections, lower FLOWHUB_PG_READ_CONNECTIONS, or use a pooler.")
    }

    /// Warns about migrations that are not applied. Fails if the applied ones do not match this binary.
    private func migrations() async -> DoctorFinding {
        do throws(PostgresError) {
            let missing = try await MigrationRunner(self.settings, logger: self.logger).status().filter { !$0.isApplied }
            if missing.isEmpty { return DoctorFinding(.ok, "postgres.migrations", "all migrations are applied") }
            return DoctorFinding(
                .warning, "postgres.migrations", "migrations not applied: \(missing.map(\.name).joined(separator: ", "))",
                advice:
                    "Run `flowhub migrate`, or start `flowhub serve` without FLOWHUB_MIGRATE=false."
            )
        } catch {
            return DoctorFinding(
                .failure, "postgres.migrations", error.explanation,
                advice: error.code == .schema
                    ? "Do what the text says, or use the flowhub version whose migrations match the database."
                    : Self.advice(for: error))
        }
    }
}
