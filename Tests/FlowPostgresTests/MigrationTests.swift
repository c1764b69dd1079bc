import FlowCore
import FlowTestKit
import Foundation
import Testing

@testable import FlowPostgres

/// Migrations: equal to the files in the directory, rejected if they do not match the database, and applied to a
/// database in use.
@Suite(.serialized, .postgres()) struct MigrationTests {
    @Test func binaryContainsExactlyFilesOfMigrationFolder() throws {
        let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("../../migrations")
        let names = try FileManager.default.contentsOfDirectory(atPath: folder.path).filter { $0.hasSuffix(".sql") }.sorted()
        #expect(Migration.all.map { $0.name + ".sql" } == names)
        for migration in Migration.all {
            let text = try String(contentsOf: folder.appendingPathComponent(migration.name + ".sql"), encoding: .utf8)
            #expect(migration.sql == text)
            #expect(migration.sha256.count == 64)
        }
    }

    @Test func rejectsChangedOrLateMigrationAndIgnoresNewer() throws {
        let one = Migration(name: "0001_a", bytes: Array("SELECT 1".utf8))
        let two = Migration(name: "0002_b", bytes: Array("SELECT 2".utf8))
        func pending(_ applied: [String: String]) throws -> [String] {
            try MigrationPlan(applied: applied).pending(of: [one, two]).map(\.name)
        }
        #expect(try pending([:]) == ["0001_a", "0002_b"])
        #expect(try pending(["0001_a": one.sha256]) == ["0002_b"])
        #expect(try pending(["0001_a": one.sha256, "0002_b": two.sha256, "0003_c": "newer"]) == [])
        #expect(throws: PostgresError.self) { try pending(["0001_a": "other"]) }
        #expect(throws: PostgresError.self) { try pending(["0002_b": two.sha256]) }
    }

    @Test func failedMigrationRollsBackAndReportsReason() async throws {
        let server = try SharedPostgres.server
        let database = try await server.createDatabase()
        let bad = Migration(name: "0001_bad", bytes: Array("CREATE TABLE half (n int); SELECT nonsense;".utf8))
        let error = await #expect(throws: PostgresError.self) {
            try await MigrationRunner(PostgresSettings(url: server.url(database)), migrations: [bad], logger: logger).run()
        }
        #expect(error?.description.contains("0001_bad") == true)
        #expect(error?.description.contains("nonsense") == true)
        #expect(try await server.query("SELECT to_regclass('half') IS NULL", in: database) == "t")
    }

    /// Another transaction keeps the index build of 0012 waiting for as long as it likes. Meanwhile a service whose database user
    /// has no rights on the hub's tables goes on inserting into its own.
    @Test(.timeLimit(.minutes(1)), arguments: [nil, "hub_own"] as [String?])
    func serviceInsertsWhileIndexBuildBetweenMigrationsWaits(schema: String?) async throws {
        let server = try SharedPostgres.server
        let database = try await server.createDatabase()
        let user = "inserter_\(schema ?? "public")"
        try await server.query("DROP ROLE IF EXISTS \(user); CREATE ROLE \(user) LOGIN", in: "postgres")
        try await server.query(
            """
            CREATE TABLE data_imports (id uuid PRIMARY KEY, client_account_id integer);
            GRANT SELECT, INSERT, UPDATE, DELETE ON data_imports TO \(user)
            """, in: database)
        var settings = PostgresSettings(url: server.url(database))
        settings.schema = schema
        let before = Migration.all.filter { $0.name < "0011" }
        _ = try await MigrationRunner(settings, migrations: before, logger: logger).run()
        let holder = try PostgresConnection(settings)
        try holder.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1")
        let runner = MigrationRunner(settings, logger: logger)
        async let applied = runner.run()
        try await eventually("the index build to wait") {
            try await server.query(
                "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%flows_by_deletion%' AND wait_event_type = 'Lock'",
                in: database) == "1"
        }
        try await server.query(
            "SET ROLE \(user); INSERT INTO data_imports (id, client_account_id) VALUES (gen_random_uuid(), 7), (gen_random_uuid(), 8); "
                + "DELETE FROM data_imports WHERE client_account_id = 8",
            in: database)
        try holder.execute("COMMIT")
        #expect(try await applied == Migration.all.map(\.name).filter { $0 > "0011" })
        #expect(
            try await server.query(
                "SELECT sum(imports) FROM \(schema ?? "public").account_usage WHERE account = '7'", in: database) == "1")
    }

    /// A transaction that keeps its MVCC snapshot would block the concurrent index build, which in turn blocks the
    /// transaction.
    @Test(.timeLimit(.minutes(1)))
    func migratesDatabaseWithSerializableDefault() async throws {
        let server = try SharedPostgres.server
        let database = try await server.createDatabase()
        try await server.query("ALTER DATABASE \(database) SET default_transaction_isolation = 'serializable'", in: "postgres")
        let applied = try await MigrationRunner(PostgresSettings(url: server.url(database)), logger: logger).run()
        #expect(applied == Migration.all.map(\.name))
        let store = try await openStore(server.url(database))
        #expect(try await store.nextFencingToken() > 0)
        await store.close()
    }

    @Test func rejectsEncodingThatCannotStoreAllText() async throws {
        let server = try SharedPostgres.server
        try await server.query("CREATE DATABASE narrow ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0", in: "postgres")
        let settings = PostgresSettings(url: server.url("narrow"))
        let error = await #expect(throws: PostgresError.self) { try await MigrationRunner(settings, logger: logger).run() }
        #expect(error?.description.contains("LATIN1") == true)
        #expect(try await server.query("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'", in: "narrow") == "0")
        let findings = await PostgresDiagnostics(settings, logger: logger).run()
        #expect(findings.contains { $0.subject == "postgres.encoding" && $0.level == .failure })
    }

    /// Tables of a legacy service with many rows, migrated while the service continues to write.
    @Test func migratesLegacyTablesDuringWrites() async throws {
        let server = try SharedPostgres.server
        let database = try await server.createDatabase()
        let rows = TestScale.pick(50_000, full: 1_000_000)
        try await server.query(
            """
            CREATE TABLE data_imports (id uuid PRIMARY KEY, client_account_id integer, discovery_flow_id uuid, file_name varchar(255),
                source_type varchar(50), created_at timestamptz);
            CREATE TABLE raw_import_records (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), client_account_id integer,
                data_import_id uuid, raw_data jsonb, created_at timestamptz DEFAULT now());
            INSERT INTO data_imports VALUES ('00000000-0000-0000-0000-000000000001', 7, gen_random_uuid(), 'a.csv', 'csv', now());
            INSERT INTO raw_import_records (client_account_id, data_import_id, raw_data)
            SELECT 7, '00000000-0000-0000-0000-000000000001', jsonb_build_object('n', n) FROM generate_series(1, \(rows)) n;
            """, in: database)
        let isOver = AsyncValue(false)
        let longest = try await withThrowingTaskGroup(of: Duration.self) { group in
            group.addTask {
                var longest = Duration.zero
                while !isOver.value {
                    let started = ContinuousClock.now
                    try await server.query(
                        "INSERT INTO raw_import_records (client_account_id, data_import_id, raw_data) VALUES (7, '00000000-0000-0000-0000-000000000001', '{}')",
                        in: database)
                    longest = max(longest, ContinuousClock.now - started)
                }
                return longest
            }
            group.addTask {
                defer { isOver.change { $0 = true } }
                _ = try await MigrationRunner(PostgresSettings(url: server.url(database)), logger: logger).run()
                return .zero
            }
            return try await group.reduce(.zero) { max($0, $1) }
        }
        #expect(longest < .seconds(3), "a writer was blocked for \(longest)")
        #expect(
            try await server.query(
                "SELECT count(*) >= \(rows), count(*) FILTER (WHERE is_sample) FROM raw_import_records", in: database) == "t|0")
        #expect(
            try await server.query(
                "SELECT indisvalid FROM pg_index WHERE indexrelid = 'idx_raw_import_sample'::regclass", in: database) == "t")
        #expect(
            try await server.query("SELECT client_account_id, file_name, status IS NULL FROM data_imports", in: database)
                == "7|a.csv|t")
        // An invalid index of an interrupted build does not prevent the migration.
        try await server.query(
            """
            DELETE FROM schema_migrations WHERE name >= '0009_import_rows';
            UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'raw_import_records_in_order'::regclass
            """, in: database)
        let again = try await MigrationRunner(PostgresSettings(url: server.url(database)), logger: logger).run()
        #expect(again.first == "0009_import_rows")
        #expect(
            try await server.query(
                "SELECT indisvalid FROM pg_index WHERE indexrelid = 'raw_import_records_in_order'::regclass", in: database) == "t"
        )
    }
}
