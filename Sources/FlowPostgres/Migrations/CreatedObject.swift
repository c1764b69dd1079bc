/// A table, sequence, index or function that a migration creates, as its SQL names it.
struct CreatedObject: Hashable, Sendable {
    enum Kind: String, Sendable { case table, sequence, index, function }

    let kind: Kind
    let name: String
    /// The table of an index; empty for other objects.
    let table: String
    /// Whether the statement accepts an object that already exists (`IF NOT EXISTS`, `OR REPLACE`).
    let acceptsExisting: Bool

    /// The tables that the hub shares with the legacy service, and that the legacy service may have created.
    static let importTables: Set<String> = ["data_imports", "raw_import_records"]

    /// Whether the object belongs to the import tables, so that it is in their schema.
    var isOfImports: Bool {
        Self.importTables.contains(self.name) || Self.importTables.contains(self.table) || self.name == "hub_record_ids"
    }

    /// The objects that SQL text creates, in order. Statements that the text composes itself (`EXECUTE format(…)`) are not found.
    static func all(in sql: String) -> [CreatedObject] {
        let lines = sql.split(separator: "\n").map { line in
            String(line.firstRange(of: "--").map { line[..<$0.lowerBound] } ?? line)
        }
        var words = lines.joined(separator: " ").split { " (),;\t".contains($0) }[...]
        var objects: [CreatedObject] = []
        while let start = words.firstIndex(of: "CREATE") {
            words = words[words.index(after: start)...]
            var rest = words.drop { ["OR", "UNIQUE", "UNLOGGED"].contains($0) }
            let replaces = rest.first == "REPLACE"
            if replaces { rest = rest.dropFirst() }
            guard let kind = rest.popFirst().flatMap({ Kind(rawValue: $0.lowercased()) }) else { continue }
            if rest.first == "CONCURRENTLY" { rest = rest.dropFirst() }
            let isConditional = rest.starts(with: ["IF", "NOT", "EXISTS"])
            if isConditional { rest = rest.dropFirst(3) }
            guard let name = rest.popFirst(), !name.contains("%") else { continue }
            let table = kind == .index && rest.first == "ON" ? rest.dropFirst().first.map(String.init) ?? "" : ""
            objects.append(
                CreatedObject(kind: kind, name: String(name), table: table, acceptsExisting: replaces || isConditional))
        }
        return objects
    }
}
