/// What in a database would keep missing migrations from being applied, or would be spoiled by them: objects of other programs
/// with names that the hub needs, import tables that the hub cannot use, and another hub on the same import tables.
struct SchemaConflicts {
    let connection: PostgresConnection
    let layout: SchemaLayout
    /// The setting `FLOWHUB_PG_SCHEMA`.
    let schema: String?
    /// The missing migrations.
    let pending: [Migration]

    /// Whether the hub has no tables yet.
    private var isNew: Bool { self.pending.first?.name == Migration.all.first?.name }

    /// Checks everything, and changes nothing.
    /// - Parameter mayChange: whether to check also that the user may create and change the tables.
    /// - Throws: code `schema`, with what was found and what to do about it.
    func check(mayChange: Bool) throws(PostgresError) {
        guard !self.pending.isEmpty else { return }
        if self.isNew { try self.checkOtherHub() }
        try self.checkNames()
        try self.checkImportTables(mayChange: mayChange)
        if mayChange { try self.checkSchema() }
    }

    /// The table `schema_migrations` must be the hub's.
    static func checkMigrationsTable(_ connection: PostgresConnection, _ layout: SchemaLayout, _ schema: String?)
        throws(PostgresError) -> Bool
    {
        var parameters = ParameterList()
        parameters.add(layout.migrationsTable)
        let row = try connection.execute(
            Statement(
                """
                SELECT string_agg(attname, ', ' ORDER BY attnum), bool_or(attname = 'name') AND bool_or(attname = 'sha256')
                FROM pg_attribute WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped
                """, parameters)
        ).first
        guard let columns = row?.text(0) else { return false }
        guard row?.bool(1) == true else {
            throw Self.clash(layout.hub, ["table schema_migrations (its columns: \(columns))"], schema)
        }
        return true
    }

    // MARK: Private

    /// The error for objects of other programs in a schema.
    private static func clash(_ place: String, _ objects: [String], _ schema: String?) -> PostgresError {
        let remedy =
            schema == nil
            ? "Set FLOWHUB_PG_SCHEMA=flowhub, so that the hub's tables get a schema of their own"
            : "Set FLOWHUB_PG_SCHEMA to another name"
        return PostgresError(
            .schema,
            "schema \(place) has objects of another program with names that the hub needs: \(objects.joined(separator: ", ")). "
                + "Nothing was changed. \(remedy)")
    }

    /// No object of another program may have the name of one that a migration creates.
    private func checkNames() throws(PostgresError) {
        let objects = self.pending.flatMap { CreatedObject.all(in: $0.sql) }.filter { object in
            !CreatedObject.importTables.contains(object.name) && (self.isNew || !object.acceptsExisting)
        }
        var parameters = ParameterList()
        parameters.add(objects.map(\.name))
        parameters.add(objects.map(\.kind.rawValue))
        parameters.add(objects.map(\.table))
        parameters.add(objects.map { self.layout.schema(of: $0) })
        let found = try self.connection.execute(
            Statement(
                """
                WITH wanted AS (
                    SELECT w.*, n.oid AS place FROM unnest($1, $2, $3, $4) AS w (name, kind, on_table, schema)
                    JOIN pg_namespace n ON n.nspname = w.schema
                )
                SELECT w.schema, w.name, CASE c.relkind WHEN 'r' THEN 'table' WHEN 'p' THEN 'table' WHEN 'v' THEN 'view'
                    WHEN 'm' THEN 'materialized view' WHEN 'S' THEN 'sequence' WHEN 'i' THEN 'index' WHEN 'I' THEN 'index'
                    WHEN 'f' THEN 'foreign table' ELSE 'type' END
                FROM wanted w JOIN pg_class c ON c.relnamespace = w.place AND c.relname = w.name
                WHERE w.kind <> 'function' AND NOT EXISTS (
                    -- An index that an interrupted attempt has built.
                    SELECT FROM pg_index i JOIN pg_class t ON t.oid = i.indrelid
                    WHERE i.indexrelid = c.oid AND t.relname = w.on_table AND t.relnamespace = w.place)
                UNION ALL
                SELECT w.schema, w.name, 'type' FROM wanted w
                JOIN pg_type t ON t.typnamespace = w.place AND t.typname = w.name AND t.typrelid = 0 WHERE w.kind = 'table'
                UNION ALL
                SELECT w.schema, w.name, 'function' FROM wanted w
                JOIN pg_proc p ON p.pronamespace = w.place AND p.proname = w.name WHERE w.kind = 'function'
                """, parameters))
        guard let place = found.first?.text(0) else { return }
        let texts = found.rows.filter { $0.text(0) == place }.map { "\($0.text(2) ?? "") \($0.text(1) ?? "")" }
        throw Self.clash(place, texts, self.schema)
    }

    /// Types of columns by their names in `pg_type`.
    private enum Types {
        static let text = ["text", "varchar", "bpchar"]
        static let integer = ["int2", "int4", "int8"]
        static let json = ["json", "jsonb"]
        static let time = ["timestamptz", "timestamp"]
    }

    /// The columns that the hub uses in the import tables, and the types with which it can use them. A column that is missing is
    /// added, except the first one of each table.
    private static let columns: [(table: String, column: String, types: [String])] = [
        ("data_imports", "id", ["uuid"]), ("data_imports", "file_name", Types.text), ("data_imports", "source_type", Types.text),
        ("data_imports", "status", Types.text), ("data_imports", "storage_location", Types.text),
        ("data_imports", "storage_metadata", Types.json), ("data_imports", "storage_provider", Types.text),
        ("data_imports", "total_records", Types.integer), ("data_imports", "field_summary", Types.json),
        ("data_imports", "created_at", Types.time), ("data_imports", "account", Types.text),
        ("data_imports", "flow_id", Types.text), ("data_imports", "summary_text", ["json"]),
        ("data_imports", "member_index", ["json"]), ("data_imports", "failure", Types.text),
        ("data_imports", "idempotency_key", Types.text), ("data_imports", "request_hash", Types.text),
        ("data_imports", "claim", ["int8"]), ("data_imports", "claimed_until", ["timestamptz"]),
        ("data_imports", "announced_at", ["timestamptz"]), ("data_imports", "updated_at", Types.time),
        ("data_imports", "encryption", Types.text),
        ("raw_import_records", "data_import_id", ["uuid"]), ("raw_import_records", "raw_data", Types.json),
        ("raw_import_records", "is_sample", ["bool"]), ("raw_import_records", "record_index", Types.integer),
        ("raw_import_records", "created_at", Types.time), ("raw_import_records", "raw_text", ["json"]),
    ]

    /// Import tables of the legacy service that a missing migration changes must be tables with columns that the hub can use.
    private func checkImportTables(mayChange: Bool) throws(PostgresError) {
        for table in CreatedObject.importTables.sorted() where self.pending.contains(where: { $0.sql.contains(table) }) {
            let name = "\(self.layout.imports).\(table)"
            var parameters = ParameterList()
            parameters.add("\(SearchPath.quoted(self.layout.imports)).\(table)")
            let rows = try self.connection.execute(
                Statement(
                    """
                    SELECT c.relkind::text, pg_has_role(c.relowner, 'USAGE'), pg_get_userbyid(c.relowner)::text,
                        a.attname::text, t.typname::text, format_type(a.atttypid, a.atttypmod)
                    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
                    JOIN pg_type t ON t.oid = a.atttypid WHERE c.oid = to_regclass($1)
                    """, parameters)
            ).rows.map { row in (0..<6).map { $0 == 1 ? (row.bool(1) == true ? "owner" : "") : row.text($0) ?? "" } }
            guard let first = rows.first else { continue }
            guard first[0] == "r" else {
                throw PostgresError(
                    .schema,
                    "\(name) is not an ordinary table (no view, no partitioned table). Nothing was changed. "
                        + "Set FLOWHUB_PG_SCHEMA to a schema that has a table data_imports of the hub, or use another database")
            }
            if mayChange, first[1].isEmpty {
                throw PostgresError(
                    .schema,
                    "\(name) belongs to the user \(first[2]), and only its owner may add columns. Nothing was changed. "
                        + "Run `flowhub migrate` as \(first[2]), and set FLOWHUB_MIGRATE=false for the hub")
            }
            let found = Dictionary(rows.map { ($0[3], ($0[4], $0[5])) }, uniquingKeysWith: { first, _ in first })
            for (index, needed) in Self.columns.enumerated() where needed.table == table {
                guard let (type, shown) = found[needed.column] else {
                    let isFirst = index == Self.columns.firstIndex { $0.table == table }
                    guard isFirst else { continue }
                    throw PostgresError(
                        .schema,
                        "\(name) has no column \(needed.column), which the hub needs. Nothing was changed. "
                            + "Rename the table, or use another database for the hub")
                }
                guard !needed.types.contains(type) else { continue }
                throw PostgresError(
                    .schema,
                    "column \(needed.column) of \(name) has the type \(shown), but the hub needs \(needed.types[0]). Nothing was "
                        + "changed. Change the column's type or name, or use another database for the hub")
            }
        }
    }

    /// The import tables must not belong to a hub whose own tables are in another schema: it would be replaced by an empty one.
    private func checkOtherHub() throws(PostgresError) {
        var parameters = ParameterList()
        parameters.add(self.layout.hub)
        parameters.add("\(SearchPath.quoted(self.layout.imports)).data_imports")
        let other = try self.connection.execute(
            Statement(
                """
                SELECT n.nspname::text, n.nspname = current_schema() FROM pg_namespace n WHERE n.nspname <> $1 AND n.oid IN (
                    SELECT p.pronamespace FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
                    WHERE t.tgname = 'hub_imports_inserted' AND t.tgrelid IN (to_regclass($2), to_regclass('data_imports'))
                    UNION ALL
                    SELECT relnamespace FROM pg_class WHERE oid = to_regclass('hub_meta'))
                LIMIT 1
                """, parameters)
        ).first
        guard let place = other?.text(0) else { return }
        let isFirst = other?.bool(1) == true
        let set = isFirst && self.schema != nil ? "Unset FLOWHUB_PG_SCHEMA" : "Set FLOWHUB_PG_SCHEMA=\(place)"
        let move =
            self.schema == nil
            ? "" : ". To move its tables to \(self.layout.hub), stop all instances and run `flowhub migrate --move-from \(place)`"
        throw PostgresError(
            .schema,
            "a hub's tables are in schema \(place), and it uses the same import tables. Nothing was changed. \(set)\(move)")
    }

    /// The user may create objects where missing migrations create some, and the hub's schema if it does not exist.
    private func checkSchema() throws(PostgresError) {
        var places = Set(self.pending.flatMap { CreatedObject.all(in: $0.sql) }.map { self.layout.schema(of: $0) })
        if self.pending.contains(where: \.createsInImportSchema) { places.insert(self.layout.imports) }
        var parameters = ParameterList()
        // The hub's schema first.
        parameters.add(places.sorted { $0 == self.layout.hub && $1 != self.layout.hub })
        let lacking = try self.connection.execute(
            Statement(
                """
                SELECT s.name, n.oid IS NOT NULL, current_user::text FROM unnest($1) WITH ORDINALITY AS s (name, number)
                LEFT JOIN pg_namespace n ON n.nspname = s.name
                WHERE NOT coalesce(has_schema_privilege(n.oid, 'CREATE'), has_database_privilege(current_database(), 'CREATE'))
                ORDER BY s.number
                """, parameters)
        ).first
        guard let lacking, let name = lacking.text(0) else { return }
        let (schema, user) = (SearchPath.quoted(name), SearchPath.quoted(lacking.text(2) ?? ""))
        throw PostgresError(
            .schema,
            "the database user may not create \(lacking.bool(1) == true ? "tables in the" : "the") schema \(name). Nothing was "
                + "changed. Run as an administrator: "
                + (lacking.bool(1) == true
                    ? "GRANT CREATE ON SCHEMA \(schema) TO \(user)" : "CREATE SCHEMA \(schema) AUTHORIZATION \(user)"))
    }
}
