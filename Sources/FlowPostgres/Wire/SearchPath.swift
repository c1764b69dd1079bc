/// SQL for the search path, by which Postgres finds tables whose names have no schema.
enum SearchPath {
    /// The call that puts schemas before those of the current search path.
    /// - Parameter isLocal: whether it applies to the current transaction only, not to the session.
    static func beginning(with schemas: [String], isLocal: Bool) -> String {
        let names = Self.literal(schemas.map(Self.quoted).joined(separator: ", "))
        return "set_config('search_path', concat_ws(', ', \(names), nullif(current_setting('search_path'), '')), \(isLocal))"
    }

    /// A name as an SQL identifier.
    static func quoted(_ name: String) -> String { "\"" + name.replacing("\"", with: "\"\"") + "\"" }

    /// A text as an SQL literal.
    static func literal(_ text: String) -> String { "'" + text.replacing("'", with: "''") + "'" }
}
