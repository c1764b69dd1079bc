import ArgumentParser

/// How the records that are handed in are written.
enum ImportFileFormat: String, CaseIterable, ExpressibleByArgument {
    /// One array.
    case json
    /// One JSON document a line.
    case ndjson
    /// RFC 4180, with the names in the first row.
    case csv

    var contentType: String {
        switch self {
        case .json: "application/json"
        case .ndjson: "application/x-ndjson"
        case .csv: "text/csv"
        }
    }

    /// By a file's name, with or without `.gz` behind it.
    init?(fileName: String) {
        var name = fileName.lowercased()
        if name.hasSuffix(".gz") { name.removeLast(3) }
        guard let dot = name.lastIndex(of: ".") else { return nil }
        switch name[name.index(after: dot)...] {
        case "json": self = .json
        case "ndjson", "jsonl": self = .ndjson
        case "csv": self = .csv
        default: return nil
        }
    }
}
