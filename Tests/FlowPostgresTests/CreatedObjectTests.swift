import FlowCore
import FlowTestKit
import Testing

@testable import FlowPostgres

/// The objects that migrations create, as read from their SQL: the names that a foreign object must not have.
@Suite(.serialized, .postgres()) struct CreatedObjectTests {
    @Test func areReadFromStatements() {
        let sql = """
            -- CREATE TABLE comment (n int);
            CREATE TABLE a (n int); CREATE TABLE IF NOT EXISTS b(n int);
            CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS c
                ON a (n);
            CREATE OR REPLACE FUNCTION d() RETURNS trigger AS $$ $$; CREATE TRIGGER e AFTER DELETE ON a; CREATE SEQUENCE f;
            EXECUTE format('CREATE FUNCTION %1$s()', name);
            """
        #expect(
            CreatedObject.all(in: sql) == [
                CreatedObject(kind: .table, name: "a", table: "", acceptsExisting: false),
                CreatedObject(kind: .table, name: "b", table: "", acceptsExisting: true),
                CreatedObject(kind: .index, name: "c", table: "a", acceptsExisting: true),
                CreatedObject(kind: .function, name: "d", table: "", acceptsExisting: true),
                CreatedObject(kind: .sequence, name: "f", table: "", acceptsExisting: false),
            ])
    }

    /// All that a migrated database has, in the schema that it belongs to.
    @Test func areAllThatMigrationsCreate() async throws {
        let server = try SharedPostgres.server
        let database = try await server.createDatabase()
        // With these ids a sequence is created too.
        try await server.query(
            "CREATE TABLE raw_import_records (id integer PRIMARY KEY, data_import_id uuid, created_at timestamp)", in: database)
        var settings = PostgresSettings(url: server.url(database))
        settings.schema = "own"
        _ = try await MigrationRunner(settings, logger: logger).run()
        let layout = SchemaLayout(hub: "own", imports: "public", exists: true)
        let objects = Migration.all.flatMap { CreatedObject.all(in: $0.sql) }
        let found = try await server.query(
            """
            SELECT n.nspname || '.' || c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE n.nspname IN ('own', 'public') AND c.relkind IN ('r', 'S', 'i') AND c.relname !~ '(_pkey|_id_seq)$'
                AND c.relname <> 'schema_migrations'
            """, in: database)
        #expect(
            Set(found.split(separator: "\n").map(String.init))
                == Set(objects.filter { $0.kind != .function }.map { "\(layout.schema(of: $0)).\($0.name)" }))
        let functions = try await server.query(
            "SELECT DISTINCT n.nspname || '.' || p.proname FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace "
                + "WHERE n.nspname IN ('own', 'public') AND p.proname NOT LIKE 'hub_as_%'", in: database)
        #expect(
            Set(functions.split(separator: "\n").map(String.init))
                == Set(objects.filter { $0.kind == .function && !$0.name.hasPrefix("hub_as_") }.map { "own.\($0.name)" }))
        // Every function of a trigger finds the hub's tables, whoever runs the statement.
        #expect(
            try await server.query(
                "SELECT count(*) FROM pg_proc WHERE prorettype = 'trigger'::regtype AND pronamespace = 'own'::regnamespace "
                    + "AND (proconfig IS NULL OR NOT proconfig @> ARRAY['search_path=own, pg_temp'])", in: database) == "0")
    }
}
