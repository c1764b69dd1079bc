/// The schemas of a hub's tables.
struct SchemaLayout: Hashable, Sendable {
    /// Schema of the hub's own tables.
    let hub: String
    /// Schema of the import tables, or where they will be created.
    let imports: String
    /// Whether the schema of the hub's own tables exists.
    let exists: Bool

    /// Finds the schemas. The transaction must not have changed the search path.
    /// - Parameter schema: the setting `FLOWHUB_PG_SCHEMA`. With it, the import tables are where the hub's schema or else the
    ///   user's search path has them, and in the first schema of that path if nobody has created them. Without it, everything is
    ///   in the first schema of the search path.
    /// - Throws: code `schema` without the setting if no schema of the search path exists.
    static func read(_ connection: PostgresConnection, schema: String?) throws(PostgresError) -> SchemaLayout {
        var parameters = ParameterList()
        parameters.add(schema)
        let row = try connection.execute(
            Statement(
                """
                SELECT current_schema()::text,
                    (SELECT n.nspname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                        WHERE c.oid = to_regclass('hub_meta')),
                    EXISTS (SELECT FROM pg_namespace WHERE nspname = $1),
                    (SELECT n.nspname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                        WHERE c.oid = coalesce(to_regclass($1 || '.data_imports'), to_regclass('data_imports')))
                """, parameters), within: MigrationRunner.statusSeconds
        ).first
        let current = row?.text(0)
        if let schema {
            return SchemaLayout(
                hub: schema, imports: row?.text(3) ?? current ?? schema, exists: row?.bool(2) == true)
        }
        guard let hub = row?.text(1) ?? current else {
            throw PostgresError(
                .schema, "no schema of the database user's search_path exists; create one, or set FLOWHUB_PG_SCHEMA")
        }
        return SchemaLayout(hub: hub, imports: hub, exists: true)
    }

    /// The table of applied migrations, qualified.
    var migrationsTable: String { "\(SearchPath.quoted(self.hub)).schema_migrations" }

    /// The schema of an object.
    func schema(of object: CreatedObject) -> String { object.isOfImports ? self.imports : self.hub }
}
