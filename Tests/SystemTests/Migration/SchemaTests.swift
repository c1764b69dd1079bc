import FlowCore
import FlowTestKit
import Foundation
import Testing

/// The hub's own tables in a schema of their own (`FLOWHUB_PG_SCHEMA`), in the database of a legacy service.
@Suite(.serialized, .postgres()) struct SchemaTests {
    static let name = "hub_own"
    static let schema = ["FLOWHUB_PG_SCHEMA": Self.name]

    /// Objects of another program with names that the hub uses too.
    private static let foreign = """
        CREATE TABLE flows (id serial PRIMARY KEY, title text); INSERT INTO flows (title) VALUES ('a migration');
        CREATE TABLE schema_migrations (version bigint PRIMARY KEY, dirty boolean); INSERT INTO schema_migrations VALUES (7, false);
        CREATE VIEW revocations AS SELECT 1 AS n; CREATE TYPE idempotency AS ENUM ('a'); CREATE SEQUENCE hub_fencing;
        """

    /// Every relation, type, function and column of a database, to see that nothing was changed.
    private static func catalog(_ server: PostgresServer, _ database: String) async throws -> String {
        try await server.query(
            """
            SELECT n.nspname, c.relname, c.relkind, a.attname, a.atttypid::regtype, a.attnotnull
            FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
            WHERE n.nspname NOT LIKE 'pg_%' AND n.nspname <> 'information_schema'
            UNION ALL SELECT nspname, '', 'n', '', 0, false FROM pg_namespace WHERE nspname NOT LIKE 'pg_%'
            UNION ALL SELECT 'function', proname, 'f', '', 0, false FROM pg_proc WHERE pronamespace = 'public'::regnamespace
            UNION ALL SELECT 'trigger', tgname, 't', '', 0, false FROM pg_trigger ORDER BY 1, 2, 3, 4
            """, in: database)
    }

    /// The names of the tables of a schema, in order.
    private static func tables(_ server: PostgresServer, _ database: String, _ schema: String) async throws -> String {
        try await server.query(
            "SELECT string_agg(tablename, ' ' ORDER BY tablename) FROM pg_tables WHERE schemaname = '\(schema)'", in: database)
    }

    private static let hubTables = [
        "account_usage", "ended_versions", "flow_events", "flow_outbox", "flows", "hub_locks", "hub_meta", "hub_tasks",
        "idempotency", "revocations", "schema_migrations",
    ]

    /// The hub and the service on the same import tables. The service has a database user of its own, which has no rights on the
    /// hub's schema and another search path.
    @Test func hubHasItsOwnSchemaBesideTheService() async {
        await concurrently(PostgresHubs.Route.allCases, self.hubHasItsOwnSchemaBesideTheService(_:))
    }

    private func hubHasItsOwnSchemaBesideTheService(_ route: PostgresHubs.Route) async throws {
        let server = try SharedPostgres.server
        let database = try await server.createDatabase()
        let user = "service_\(route)"
        try await server.query("CREATE ROLE \(user) LOGIN", in: "postgres")
        try await server.query("GRANT CREATE ON SCHEMA public TO \(user); \(Self.foreign)", in: database)
        let url = "postgres://\(user)@127.0.0.1:\(server.port)/\(database)"
        try await LegacyService.running(["DATABASE_URL": url]) { service in
            try await service.call("models.create_tables")
            let before = try await service.call("schema.store_import", #"{"records":[{"n":1},{"n":2}]}"#).stringValue ?? ""
            func check(_ hubs: [HubProcess]) async throws {
                try await HubContents.fill(hubs[0])
                let contents = try await HubContents.read(hubs[0])
                #expect(try await HubContents.read(hubs[1]) == contents)
                #expect(try await hubs[1].call("POST", "/v1/locks/r", body: "{}").status == 201)
                // The service's imports, made before the hub came and beside it.
                let beside = try await service.call("schema.store_import", #"{"records":[{"n":3}]}"#).stringValue ?? ""
                #expect(try await hubs[1].get(before, "/data").text.filter { !$0.isWhitespace } == #"[{"n":1},{"n":2}]"#)
                #expect(try await hubs[1].get(beside, "/data").text.filter { !$0.isWhitespace } == #"[{"n":3}]"#)
                // The hub's import, read by the service.
                let own = try await hubs[0].store(TestUpload(#"[{"n":4}]"#))
                #expect(try await service.call("schema.records", #"{"import_id":"\#(own.id)"}"#).string == #"[{"n":4}]"#)
                try await service.call("schema.delete_import", #"{"import_id":"\#(beside)"}"#)
                #expect(try await hubs[0].get(beside).status == 404)
                for command in [
                    ["epoch", "bump"], ["imports", "verify"], ["flows", "export", "--without-imports"], ["migrate", "--status"],
                ] {
                    let (exit, output, errors) = try await hubs[0].command(command)
                    #expect(exit == .code(0), "\(command): \(output)\(errors)")
                }
                let doctor = try await hubs[0].command(["doctor"])
                #expect(doctor.exit == .code(0) && doctor.output.contains("tables are in schema \(Self.name)"), "\(doctor)")
                #expect(hubs[0].log.contains("schema \(Self.name)"))
            }
            switch route {
            case .direct: try await PostgresHubs.start(2, server.url(database), Self.schema) { try await check($0) }
            case .pooled:
                try await PgBouncer.running(before: server) { bouncer in
                    try await PostgresHubs.start(2, bouncer.url(database), Self.schema) { try await check($0) }
                    // No search path is left on the pooler's connections.
                    let (exit, _, errors) = try await SettingsTests.run(
                        ["migrate", "--status"], ["DATABASE_URL": bouncer.url(database)])
                    #expect(exit == .code(1) && errors.contains("FLOWHUB_PG_SCHEMA=flowhub"), "\(errors)")
                }
            }
        }
        #expect(try await Self.tables(server, database, Self.name) == Self.hubTables.joined(separator: " "))
        #expect(
            try await Self.tables(server, database, "public") == "data_imports flows raw_import_records schema_migrations")
        #expect(
            try await server.query("SELECT (SELECT title FROM flows), (SELECT version FROM schema_migrations)", in: database)
                == "a migration|7")
        #expect(
            try await server.query(
                "SELECT count(*) FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND proname LIKE 'hub%'", in: database)
                == "0")
        // Imports are counted, also those that the service stored and deleted.
        #expect(
            try await server.query(
                "SELECT sum(u.imports) = (SELECT count(*) FROM data_imports) FROM \(Self.name).account_usage u", in: database)
                == "t")
    }

    @Test func namesOfOtherProgramsAreToldBeforeAnythingIsChanged() async throws {
        let server = try SharedPostgres.server
        let rows: [(sql: String, expected: [String])] = [
            (
                Self.foreign,
                ["schema public", "table schema_migrations (its columns: version, dirty)", "FLOWHUB_PG_SCHEMA=flowhub"]
            ),
            (
                "CREATE TABLE flows (id int); CREATE VIEW revocations AS SELECT 1 AS n; CREATE TYPE idempotency AS ENUM ('a'); "
                    + "CREATE TABLE account_usage (n int); CREATE INDEX hub_locks_by_expiry ON flows (id); CREATE SEQUENCE hub_fencing",
                [
                    "table flows", "view revocations", "type idempotency", "table account_usage", "index hub_locks_by_expiry",
                    "sequence hub_fencing", "Nothing was changed", "FLOWHUB_PG_SCHEMA=flowhub",
                ]
            ),
            (
                "CREATE TYPE state AS ENUM ('a'); CREATE TABLE data_imports (id uuid, status state)",
                ["column status", "the type state", "text"]
            ),
            ("CREATE TABLE data_imports (id integer)", ["column id of public.data_imports", "integer", "uuid"]),
            ("CREATE TABLE data_imports (id uuid, flow_id uuid)", ["column flow_id", "uuid", "text"]),
            ("CREATE TABLE data_imports (number int)", ["public.data_imports has no column id"]),
            ("CREATE VIEW data_imports AS SELECT 1 AS id", ["public.data_imports is not an ordinary table"]),
            ("CREATE TABLE data_imports (id uuid) PARTITION BY HASH (id)", ["public.data_imports is not an ordinary table"]),
        ]
        for (index, (sql, expected)) in rows.enumerated() {
            let database = try await server.createDatabase()
            try await server.query(sql, in: database)
            let before = try await Self.catalog(server, database)
            let others = [["migrate", "--status"], ["migrate", "--dry-run"], ["serve"], ["doctor"]]
            for arguments in [["migrate"]] + (index == 1 ? others : []) {
                let (exit, output, errors) = try await SettingsTests.run(arguments, ["DATABASE_URL": server.url(database)])
                #expect(exit == .code(1), "\(arguments) \(sql)")
                for text in expected { #expect((output + errors).contains(text), "\(arguments): \(output)\(errors)") }
            }
            #expect(try await Self.catalog(server, database) == before, "\(sql)")
        }
    }

    @Test func onlyOwnersOfTheTablesMigrateAndTheErrorNamesThem() async throws {
        let server = try SharedPostgres.server
        let database = try await server.createDatabase()
        try await server.query("DROP ROLE IF EXISTS plain; CREATE ROLE plain LOGIN", in: "postgres")
        let url = ["DATABASE_URL": "postgres://plain@127.0.0.1:\(server.port)/\(database)"].merging(Self.schema) { $1 }
        let schema = try await SettingsTests.run(["migrate"], url)
        #expect(schema.exit == .code(1))
        #expect(schema.errors.contains(#"CREATE SCHEMA "hub_own" AUTHORIZATION "plain""#), "\(schema)")
        try await server.query(
            #"CREATE SCHEMA "hub_own" AUTHORIZATION "plain"; CREATE TABLE data_imports (id uuid PRIMARY KEY)"#, in: database)
        let before = try await Self.catalog(server, database)
        let owner = try await SettingsTests.run(["migrate"], url)
        #expect(owner.exit == .code(1) && owner.errors.contains("belongs to the user flowhub"), "\(owner)")
        #expect(try await Self.catalog(server, database) == before)
        try await server.query("DROP TABLE data_imports", in: database)
        let create = try await SettingsTests.run(["migrate"], url)
        #expect(create.exit == .code(1) && create.errors.contains(#"GRANT CREATE ON SCHEMA "public" TO "plain""#), "\(create)")
    }

    /// An instance without the setting, or with another one, would replace the hub by an empty one.
    @Test func instanceWithAnotherSchemaDoesNotStart() async throws {
        let server = try SharedPostgres.server
        let database = try await server.createDatabase()
        let url = ["DATABASE_URL": server.url(database)]
        #expect(try await SettingsTests.run(["migrate"], url.merging(Self.schema) { $1 }).exit == .code(0))
        let before = try await Self.catalog(server, database)
        for other in [[:], ["FLOWHUB_PG_SCHEMA": "other"]] {
            let (exit, _, errors) = try await SettingsTests.run(["serve"], url.merging(other) { $1 })
            #expect(exit == .code(1) && errors.contains("Set FLOWHUB_PG_SCHEMA=\(Self.name)"), "\(errors)")
        }
        #expect(try await Self.catalog(server, database) == before)
        for name in ["Flowhub", "pg_hub", "a-b", "1a", "a\"b", String(repeating: "a", count: 64)] {
            let (exit, _, errors) = try await SettingsTests.run(["serve"], url.merging(["FLOWHUB_PG_SCHEMA": name]) { $1 })
            #expect(exit == .code(2) && errors.contains("FLOWHUB_PG_SCHEMA"), "\(name): \(errors)")
        }
    }

    @Test func hubMovesIntoItsOwnSchemaAndBack() async throws {
        let server = try SharedPostgres.server
        let database = try await server.createDatabase()
        let url = ["DATABASE_URL": server.url(database), "R2_ENABLED": "false"]
        try await HubProcess.running(url) { hub in
            try await HubContents.fill(hub)
            let contents = try await HubContents.read(hub)
            #expect(try await hub.terminate() == .code(0))
            let refused = try await hub.command(["migrate"], adding: Self.schema)
            #expect(refused.exit == .code(1))
            #expect(
                refused.errors.contains("Unset FLOWHUB_PG_SCHEMA") && refused.errors.contains("--move-from public"), "\(refused)")
            let nothing = try await hub.command(["migrate", "--move-from", "pg_catalog"], adding: Self.schema)
            #expect(nothing.exit == .code(1) && nothing.errors.contains("schema pg_catalog has no tables of a hub"), "\(nothing)")
            let moved = try await hub.command(["migrate", "--move-from", "public"], adding: Self.schema)
            #expect(moved.exit == .code(0), "\(moved)")
            #expect(try await Self.tables(server, database, Self.name) == Self.hubTables.joined(separator: " "))
            #expect(try await Self.tables(server, database, "public") == "data_imports raw_import_records")
            try await hub.start(adding: Self.schema)
            #expect(try await HubContents.read(hub) == contents)
            let later = try await hub.store(TestUpload("[1]"))
            #expect(try await hub.call("DELETE", "/v1/imports/\(later.id)").status == 204)
            #expect(try await HubContents.read(hub) == contents)
            #expect(try await hub.terminate() == .code(0))
            let back = try await hub.command(["migrate", "--move-from", Self.name], adding: ["FLOWHUB_PG_SCHEMA": "public"])
            #expect(back.exit == .code(0), "\(back)")
            try await hub.start(adding: ["FLOWHUB_PG_SCHEMA": ""])
            #expect(try await HubContents.read(hub) == contents)
            #expect(try await hub.store(TestUpload("[1]")).id.isEmpty == false)
        }
    }

    /// The runbooks of Postgres, with a schema of its own: grants for another user, a backup of the whole database, its restore.
    @Test func grantsBackupAndRestoreWorkWithSchema() async throws {
        let server = try SharedPostgres.server
        let admin = ["PGHOST": "127.0.0.1", "PGPORT": "\(server.port)", "PGUSER": PostgresServer.user]
        _ = try await Runbook.postgresCreate.succeed(admin.merging(["PGDATABASE": "postgres"]) { $1 })
        let owner = ["DATABASE_URL": server.url("hub")].merging(Self.schema) { $1 }
        #expect(try await SettingsTests.run(["migrate"], owner).exit == .code(0))
        try await server.query("GRANT USAGE ON SCHEMA \(Self.name) TO hub", in: "hub")
        _ = try await Runbook.postgresGrants.succeed(
            admin.merging(["PGDATABASE": "hub", "PGOPTIONS": "-c search_path=\(Self.name),public"]) { $1 })
        let settings = Self.schema.merging([
            "DATABASE_URL": "postgres://hub@127.0.0.1:\(server.port)/hub", "FLOWHUB_MIGRATE": "false", "R2_ENABLED": "false",
        ]) { $1 }
        try await HubProcess.running(settings) { hub in
            try await HubContents.fill(hub)
            let contents = try await HubContents.read(hub)
            let doctor = try await hub.command(["doctor"])
            #expect(doctor.exit == .code(0), "\(doctor)")
            let backup = hub.folder.path + "/hub.dump"
            _ = try await Runbook.postgresBackup.succeed(["BACKUP": backup, "DATABASE_URL": server.url("hub")])
            _ = try await Runbook.postgresRestore.succeed(
                admin.merging(Self.schema) { $1 }.merging(["BACKUP": backup, "RESTORED_URL": server.url("hub_new")]) { $1 })
            let other = settings.merging(["DATABASE_URL": server.url("hub_new")]) { $1 }
            try await HubProcess.running(other) { (restored) async throws in
                #expect(try await HubContents.read(restored) == contents)
                #expect(try await restored.store(TestUpload("[1]")).id.isEmpty == false)
            }
        }
        for database in ["hub", "hub_new"] { try await server.query("DROP DATABASE \(database) WITH (FORCE)", in: "postgres") }
        try await server.query("DROP ROLE hub", in: "postgres")
    }
}
