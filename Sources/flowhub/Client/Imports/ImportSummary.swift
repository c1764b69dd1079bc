import FlowCore

/// A one-line summary of an import.
enum ImportSummary {
    /// For example `1,234 records, 29 MB compressed to 3.1 MB (ratio 0.107), content hash 8d2f…`.
    /// - Parameter answer: the hub's JSON of the import.
    /// - Returns: the parts for which the JSON has values; may be empty.
    static func line(_ answer: JSONText) -> String {
        var parts: [String] = []
        if let status = answer.member("status")?.stringValue, status != Import.Status.stored.rawValue {
            parts.append("status \(Terminal.sanitized(status))")
        }
        if let records = answer.member("total_records")?.intValue { parts.append("\(HumanReadable.count(Int(records))) records") }
        if let storage = answer.member("storage_metadata").flatMap({ StorageMetadata($0) }) {
            let original = HumanReadable.bytes(storage.originalSizeBytes)
            let ratio = storage.json.member("compression_ratio")?.string ?? "1"
            parts.append(
                storage.dataHash == nil
                    ? "\(original) as database rows"
                    : "\(original) compressed to \(HumanReadable.bytes(storage.sizeBytes)) (ratio \(ratio))")
            if !storage.contentHash.isEmpty { parts.append("content hash \(Terminal.sanitized(storage.contentHash))") }
        }
        return parts.joined(separator: ", ")
    }
}

extension ImportID {
    /// Parses an import id from the command line.
    /// - Throws: ``CommandFailure`` of kind `usage` if it is invalid.
    static func argument(_ text: String) throws(CommandFailure) -> ImportID {
        guard let id = ImportID(text) else {
            throw CommandFailure(
                .usage, "Invalid import id \"\(Terminal.sanitized(text))\". Use a UUID; flowhub import ls lists them.")
        }
        return id
    }
}
