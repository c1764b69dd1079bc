import FlowCore

/// What is said of an import in a line.
enum ImportSummary {
    /// `1,234 records, 29 MB packed to 3.1 MB (ratio 0.107), content hash 8d2f…`
    static func line(_ answer: JSONText) -> String {
        var parts: [String] = []
        if let status = answer.member("status")?.stringValue, status != Import.Status.stored.rawValue {
            parts.append("status \(Terminal.harmless(status))")
        }
        if let records = answer.member("total_records")?.intValue { parts.append("\(HumanReadable.count(Int(records))) records") }
        if let storage = answer.member("storage_metadata").flatMap({ StorageMetadata($0) }) {
            let original = HumanReadable.bytes(storage.originalSizeBytes)
            let ratio = storage.json.member("compression_ratio")?.string ?? "1"
            parts.append(
                storage.dataHash == nil
                    ? "\(original) as rows of the database"
                    : "\(original) packed to \(HumanReadable.bytes(storage.sizeBytes)) (ratio \(ratio))")
            if !storage.contentHash.isEmpty { parts.append("content hash \(Terminal.harmless(storage.contentHash))") }
        }
        return parts.joined(separator: ", ")
    }
}

extension ImportID {
    /// An import as it stands on a command line.
    static func argument(_ text: String) throws(CommandFailure) -> ImportID {
        guard let id = ImportID(text) else {
            throw CommandFailure(
                .usage, "\"\(Terminal.harmless(text))\" is no import: take a UUID as flowhub import ls shows it.")
        }
        return id
    }
}
