/// The metadata of an import's object, with the names that the legacy service gives it.
///
/// The store takes them before or with the object's bytes and does not change them afterwards. So the metadata has what is known
/// at that time. The ledger has everything in `storage_metadata`.
extension ObjectAttributes {
    /// Bytes that stay free for the names and values of ``totals(_:dataHash:)``.
    private static let totalsBytes = 256
    /// Maximum bytes of one value: some stores accept no more.
    private static let valueBytes = 255

    /// The attributes of the object of an import, as they are known before its records are written.
    /// - Parameters:
    ///   - recordCount: the number of records, if it is known in advance.
    ///   - stored: the totals of the object, if the object is a copy of one that exists.
    static func of(_ entry: Import, recordCount: Int? = nil, copyOf stored: StorageMetadata? = nil) -> ObjectAttributes {
        var metadata = ["import_id": entry.id.rawValue]
        if let recordCount { metadata["record_count"] = String(recordCount) }
        if let stored {
            metadata["record_count"] = String(stored.recordCount)
            metadata["original_size"] = String(stored.originalSizeBytes)
            metadata["compressed_size"] = String(stored.sizeBytes)
            metadata["data_hash"] = stored.dataHash
        }
        var bytes = metadata.reduce(Self.totalsBytes) { $0 + $1.key.utf8.count + $1.value.utf8.count }
        // A text that does not fit is left out.
        for (name, text) in [
            ("client_account_id", entry.account), ("discovery_flow_id", entry.flow?.rawValue), ("source_type", entry.sourceType),
            ("file_name", entry.fileName),
        ] {
            guard let text, !text.isEmpty else { continue }
            let value = Self.headerValue(text)
            let added = name.utf8.count + value.utf8.count
            guard value.utf8.count <= Self.valueBytes, bytes + added <= ObjectRules.maximumMetadataBytes else { continue }
            bytes += added
            metadata[name] = value
        }
        return ObjectAttributes(metadata: metadata)
    }

    /// The metadata that is known when all records are written.
    static func totals(_ index: GzipMemberIndex, dataHash: String) -> [String: String] {
        [
            "record_count": String(index.recordCount), "original_size": String(index.uncompressedBytes),
            "compressed_size": String(index.compressedBytes), "data_hash": dataHash,
        ]
    }

    /// The text as the value of a header field: itself if it is printable ASCII that no intermediary changes (HTTP trims
    /// spaces at the ends, and signatures collapse repeated ones), else as an encoded word of RFC 2047, as S3 and R2 use it.
    private static func headerValue(_ text: String) -> String {
        let isPlain =
            text.utf8.allSatisfy { (0x20...0x7e).contains($0) } && !text.hasPrefix(" ") && !text.hasSuffix(" ")
            && !text.contains("  ") && !text.hasPrefix("=?")
        guard !isPlain else { return text }
        var value = "=?UTF-8?Q?"
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "."), UInt8(ascii: "-"):
                value.unicodeScalars.append(Unicode.Scalar(byte))
            default: value += (byte < 16 ? "=0" : "=") + String(byte, radix: 16, uppercase: true)
            }
        }
        return value + "?="
    }
}
