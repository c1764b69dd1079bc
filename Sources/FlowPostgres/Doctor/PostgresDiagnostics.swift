import Dispatch
public import FlowCore
import Foundation
public import Logging

/// Looks a database over: whether the hub can live on it, and what its operator should know. Changes nothing.
public struct PostgresDiagnostics: Sendable {
    /// The oldest server that the hub's SQL is made for.
    private static let oldestServer = 130_000
    private static let oldestTested = 150_000
    /// Clocks further apart than this make locks and time stamps of the instances disagree.
    private static let tolerableSkew = 2.0

    private let settings: PostgresSettings
    private let logger: Logger

    public init(_ settings: PostgresSettings, logger: Logger) {
        self.settings = settings
        self.logger = logger
    }

    public func run() async -> [DoctorFinding] {
        let settings = self.settings
        var findings: [DoctorFinding] = await withCheckedContinuation { answer in
            DispatchQueue(label: "flowhub.postgres.examine").async { answer.resume(returning: Self.examine(settings)) }
        }
        guard !findings.contains(where: { $0.level == .failure }) else { return findings }
        findings.append(await self.migrations())
        return findings
    }

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
            findings.append(try Self.pooler(connection, settings))
            findings += try Self.role(connection)
            findings.append(try Self.rights(connection))
            findings.append(try Self.clock(connection))
            findings.append(try Self.durability(connection))
            findings.append(try Self.room(connection, settings))
        } catch {
            findings.append(
                DoctorFinding(
                    .failure, "postgres.statements", error.explanation, advice: Self.advice(for: error)))
        }
        return findings
    }

    private static func advice(for error: PostgresError) -> String {
        switch error.code {
        case .credentials: "Check user, password and database in DATABASE_URL, and the server's pg_hba.conf."
        case .connection: "Check host and port in DATABASE_URL, that the server runs, and that nothing in between refuses it."
        default: "See the server's log."
        }
    }

    // MARK: What is looked at

    private static func connection(_ connection: PostgresConnection) -> DoctorFinding {
        let isLocal = connection.host.hasPrefix("/") || connection.host == "localhost" || connection.host.hasPrefix("127.")
        let place = "\(connection.user)@\(connection.host)/\(connection.database)"
        if connection.isEncrypted { return DoctorFinding(.ok, "postgres.connection", "reached \(place), encrypted") }
        if isLocal { return DoctorFinding(.ok, "postgres.connection", "reached \(place)") }
        return DoctorFinding(
            .warning, "postgres.connection", "reached \(place), but not encrypted",
            advice:
                "Add sslmode=verify-full&sslrootcert=/etc/ssl/certs/ca-certificates.crt to DATABASE_URL: sslmode=require encrypts, "
                + "but does not find out who answers.")
    }

    private static func version(_ connection: PostgresConnection) -> DoctorFinding {
        let version = connection.serverVersion
        let text = "PostgreSQL \(version / 10_000).\(version % 10_000)"
        if version < Self.oldestServer {
            return DoctorFinding(
                .failure, "postgres.version", text, advice: "The hub needs PostgreSQL 13 or later; 15 is what it is tested with.")
        }
        if version < Self.oldestTested {
            return DoctorFinding(.warning, "postgres.version", text, advice: "The hub is tested with PostgreSQL 15.")
        }
        return DoctorFinding(.ok, "postgres.version", text)
    }

    private static func encoding(_ connection: PostgresConnection) -> DoctorFinding {
        let advice = "Create the database with ENCODING 'UTF8' TEMPLATE template0: others refuse some of what publishers send."
        switch connection.encoding {
        case "UTF8": return DoctorFinding(.ok, "postgres.encoding", "UTF8")
        case "SQL_ASCII": return DoctorFinding(.warning, "postgres.encoding", "SQL_ASCII, which checks nothing", advice: advice)
        default: return DoctorFinding(.failure, "postgres.encoding", connection.encoding, advice: advice)
        }
    }

    /// Whether the user may do what serving takes, once the tables are there.
    private static func rights(_ connection: PostgresConnection) throws(PostgresError) -> DoctorFinding {
        let missing = try connection.execute(
            Statement(
                """
                SELECT string_agg(name || ' (' || need || ')', ', ') FROM (
                    SELECT t.name, r.need FROM (VALUES ('flows'), ('flow_events'), ('flow_outbox'), ('idempotency'), ('revocations'),
                        ('hub_locks'), ('data_imports'), ('raw_import_records')) AS t (name),
                        (VALUES ('SELECT'), ('INSERT'), ('UPDATE'), ('DELETE')) AS r (need)
                    WHERE to_regclass(t.name) IS NOT NULL AND NOT has_table_privilege(t.name, r.need)
                    UNION ALL
                    SELECT 'hub_meta', 'UPDATE' WHERE to_regclass('hub_meta') IS NOT NULL AND NOT has_table_privilege('hub_meta', 'UPDATE')
                    UNION ALL
                    SELECT 'hub_fencing', 'UPDATE' WHERE to_regclass('hub_fencing') IS NOT NULL
                        AND NOT has_sequence_privilege('hub_fencing', 'UPDATE')
                ) lacking
                """)
        ).first?.text(0)
        guard let missing else { return DoctorFinding(.ok, "postgres.rights", "the user may read and write what is there") }
        return DoctorFinding(
            .failure, "postgres.rights", "the user lacks: \(missing)",
            advice: "Grant it: docs/OPERATIONS.md, \"The database and its user\", lists what serving takes.")
    }

    private static func pooler(_ connection: PostgresConnection, _ settings: PostgresSettings) throws(PostgresError) -> DoctorFinding {
        switch try Connector.prepare(connection, .chores, settings) {
        case .direct: DoctorFinding(.ok, "postgres.pooler", "none: statements stay prepared, time limits are the session's")
        case .pooled:
            DoctorFinding(.ok, "postgres.pooler", "a pooler is in between: nothing is prepared, limits are set in each transaction")
        }
    }

    private static func role(_ connection: PostgresConnection) throws(PostgresError) -> [DoctorFinding] {
        let row = try connection.execute(
            Statement(
                """
                SELECT pg_is_in_recovery(), current_setting('default_transaction_read_only') = 'on',
                    has_schema_privilege(current_schema(), 'CREATE'), current_schema()
                """)
        ).first
        if row?.bool(0) == true {
            return [
                DoctorFinding(
                    .failure, "postgres.role", "the server is a standby and takes no writes",
                    advice: "Name the primary, or all servers with target_session_attrs=read-write, in DATABASE_URL.")
            ]
        }
        if row?.bool(1) == true {
            return [
                DoctorFinding(
                    .failure, "postgres.role", "transactions are read-only by default",
                    advice: "Set default_transaction_read_only to off for the hub's user.")
            ]
        }
        guard let schema = row?.text(3) else {
            return [
                DoctorFinding(.failure, "postgres.role", "there is no schema to put tables in", advice: "Set the user's search_path.")
            ]
        }
        if row?.bool(2) == true { return [DoctorFinding(.ok, "postgres.role", "a primary; tables are in the schema \(schema)")] }
        return [
            DoctorFinding(
                .warning, "postgres.role", "a primary; the user may not create tables in the schema \(schema)",
                advice: "That is enough to serve. Migrate with another user, and set FLOWHUB_MIGRATE=false.")
        ]
    }

    private static func clock(_ connection: PostgresConnection) throws(PostgresError) -> DoctorFinding {
        let before = Date().timeIntervalSince1970
        let there = try connection.execute(Statement("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::int8")).first?.int64(
            0)
        let here = (before + Date().timeIntervalSince1970) / 2
        let skew = abs(Double(there ?? 0) / 1_000 - here)
        let text = "the database's clock and this machine's are \(Int(skew * 1_000)) ms apart"
        if skew <= Self.tolerableSkew { return DoctorFinding(.ok, "postgres.clock", text) }
        return DoctorFinding(.warning, "postgres.clock", text, advice: "Let both keep time by NTP: locks last by the hubs' clocks.")
    }

    private static func durability(_ connection: PostgresConnection) throws(PostgresError) -> DoctorFinding {
        let row = try connection.execute(
            Statement(
                "SELECT current_setting('fsync'), current_setting('synchronous_commit'), current_setting('full_page_writes')")
        ).first
        let off = [("fsync", row?.text(0)), ("synchronous_commit", row?.text(1)), ("full_page_writes", row?.text(2))]
            .filter { $0.1 == "off" }.map(\.0)
        if off.isEmpty { return DoctorFinding(.ok, "postgres.durability", "what is acknowledged is on disk") }
        return DoctorFinding(
            .warning, "postgres.durability", "off: \(off.joined(separator: ", "))",
            advice: "An acknowledged change may be lost when the server's machine fails. Turn on what is off.")
    }

    private static func room(_ connection: PostgresConnection, _ settings: PostgresSettings) throws(PostgresError) -> DoctorFinding {
        let row = try connection.execute(
            Statement(
                """
                SELECT current_setting('max_connections')::int8 - current_setting('superuser_reserved_connections')::int8,
                    (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend')
                """)
        ).first
        let (most, used) = (row?.int64(0) ?? 0, row?.int64(1) ?? 0)
        let needed = PoolWorkload.allCases.reduce(0) { $0 + $1.connections(settings) } + 2
        let text = "\(used) of \(most) connections are in use; a hub takes up to \(needed)"
        if used + Int64(needed) <= most { return DoctorFinding(.ok, "postgres.room", text) }
        return DoctorFinding(
            .warning, "postgres.room", text, advice: "Raise max_connections, lower FLOWHUB_PG_READ_CONNECTIONS, or use a pooler.")
    }

    private func migrations() async -> DoctorFinding {
        do throws(PostgresError) {
            let missing = try await MigrationRunner(self.settings, logger: self.logger).status().filter { !$0.isApplied }
            if missing.isEmpty { return DoctorFinding(.ok, "postgres.migrations", "the schema is up to date") }
            return DoctorFinding(
                .warning, "postgres.migrations", "missing: \(missing.map(\.name).joined(separator: ", "))",
                advice:
                    "`flowhub serve` applies them when it starts, unless FLOWHUB_MIGRATE=false; `flowhub migrate` applies them now."
            )
        } catch {
            return DoctorFinding(.failure, "postgres.migrations", error.explanation, advice: "Use the binary that fits the database.")
        }
    }
}
