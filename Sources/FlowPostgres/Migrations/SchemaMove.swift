import Logging

/// Moves a hub's own tables, sequences and functions to another schema. The import tables stay where they are.
struct SchemaMove {
    /// SQL that puts what a migration has created into the hub's schema: functions that migration 0004 creates beside the import
    /// tables; and the tables that the functions of triggers use are found for every program, as migration 0015 does for all.
    static func settle(from imports: String, to hub: String) -> String {
        """
        DO $settle$
        DECLARE
            found record;
        BEGIN
            FOR found IN
                SELECT p.oid::regprocedure AS function FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
                WHERE n.nspname = \(SearchPath.literal(imports)) AND n.nspname <> \(SearchPath.literal(hub))
                    AND p.proname IN (\(Self.importFunctions))
            LOOP
                EXECUTE format('ALTER FUNCTION %s SET SCHEMA %I', found.function, \(SearchPath.literal(hub)));
            END LOOP;
            FOR found IN
                SELECT p.oid::regprocedure AS function FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
                WHERE n.nspname = \(SearchPath.literal(hub)) AND p.prorettype = 'trigger'::regtype AND p.proname LIKE 'hub\\_%'
            LOOP
                EXECUTE format('ALTER FUNCTION %s SET search_path = %I, pg_temp', found.function, \(SearchPath.literal(hub)));
            END LOOP;
        END
        $settle$
        """
    }

    /// The functions that migration 0004 creates.
    private static let importFunctions = ["account", "flow", "record_id", "record_time", "jsonb"]
        .map { SearchPath.literal("hub_as_" + $0) }.joined(separator: ", ")

    /// Moves everything in the current transaction.
    /// - Parameter objects: the names of the tables and sequences that migrations create.
    static func run(
        _ connection: PostgresConnection, from old: String, to new: String, objects: [String], functions: [String]
    ) throws(PostgresError) {
        var parameters = ParameterList()
        parameters.add(old)
        parameters.add(objects)
        parameters.add(functions)
        let statements = try connection.execute(
            Statement(
                """
                SELECT format('ALTER %s %I.%I SET SCHEMA ', CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, n.nspname, c.relname)
                FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                WHERE n.nspname = $1 AND c.relname = ANY ($2) AND c.relkind IN ('r', 'S')
                    -- The sequence of a column stays with its table.
                    AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.classid = 'pg_class'::regclass AND d.deptype = 'a')
                UNION ALL
                SELECT format('ALTER FUNCTION %s SET SCHEMA ', p.oid::regprocedure)
                FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = $1 AND p.proname = ANY ($3)
                    OR n.nspname = $1 AND p.proname IN (\(Self.importFunctions))
                """, parameters)
        ).rows.compactMap { $0.text(0) }
        for statement in statements { try connection.execute(statement + SearchPath.quoted(new)) }
        try connection.execute(Self.settle(from: new, to: new))
    }
}

extension MigrationRunner {
    /// Seconds for which a move waits for each table; meanwhile later statements on the table wait too.
    private static let moveLockSeconds = 10

    /// Moves the tables of a hub from another schema of the database into that of `FLOWHUB_PG_SCHEMA`, in one transaction. All
    /// instances should be stopped: those that use the old schema fail afterwards.
    /// - Throws: ``PostgresError`` of code `schema` if there is no hub in that schema, or if the new one has objects with the names
    ///   of the hub's.
    public func move(from old: String) async throws(PostgresError) {
        try await self.blocking { () throws(PostgresError) in
            guard let new = self.settings.schema, new != old else {
                throw PostgresError(
                    .schema, "set FLOWHUB_PG_SCHEMA to the schema into which the hub's tables are moved from \(old)")
            }
            let connection = try PostgresConnection(self.settings)
            guard try self.beginExclusively(connection) else {
                throw PostgresError(.schema, "another process changes the schema; retry when it has finished")
            }
            let layout = try SchemaLayout.read(connection, schema: new)
            let source = SchemaLayout(hub: old, imports: layout.imports, exists: true)
            guard try SchemaConflicts.checkMigrationsTable(connection, source, old) else {
                throw PostgresError(.schema, "schema \(old) has no tables of a hub. Nothing was changed")
            }
            let applied = try self.plan(connection, source).applied
            let objects = self.migrations.filter { applied[$0.name] != nil }.flatMap { CreatedObject.all(in: $0.sql) }
                .filter { !CreatedObject.importTables.contains($0.name) }
            guard try self.plan(connection, layout).applied.isEmpty else {
                throw PostgresError(.schema, "schema \(new) has the tables of a hub already. Nothing was changed")
            }
            try connection.execute("SET LOCAL lock_timeout = '\(Self.moveLockSeconds)s'")
            if !layout.exists { try connection.execute("CREATE SCHEMA \(SearchPath.quoted(new))") }
            do throws(PostgresError) {
                try SchemaMove.run(
                    connection, from: old, to: new,
                    objects: ["schema_migrations"] + objects.filter { $0.kind != .index && $0.kind != .function }.map(\.name),
                    functions: objects.filter { $0.kind == .function }.map(\.name))
            } catch {
                throw PostgresError(
                    .schema, "the tables were not moved, and nothing was changed: \(error.serverMessage ?? error.description)",
                    state: error.state)
            }
            try connection.execute("COMMIT")
            self.logger.notice("Moved the hub's tables to another schema", metadata: ["from": "\(old)", "to": "\(new)"])
        }
    }
}
