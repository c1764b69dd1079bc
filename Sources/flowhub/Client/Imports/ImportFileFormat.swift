import ArgumentParser

/// The format of an uploaded data set.
enum ImportFileFormat: String, CaseIterable, ExpressibleByArgument {
    /// One JSON array.
    case json
    /// One JSON value per line.
    case ndjson
    /// RFC 4180, with the column names in the first row.
    case csv

    var contentType: String {
        switch self {
        case .json: "application/json"
        case .ndjson: "application/x-ndjson"
        case .csv: "text/csv"
        }
    }

    /// The format of a file name, with or without a final `.gz`; `nil` if its extension is unknown.
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
