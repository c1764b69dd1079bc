extension Import {
    /// The import as the HTTP API returns it.
    public var json: JSONText {
        .object { writer in
            writer.key("id")
            writer.value(self.id.rawValue)
            writer.key("status")
            writer.value(self.status.rawValue)
            writer.member("flow_id", self.flow?.rawValue)
            writer.member("file_name", self.fileName)
            writer.member("source_type", self.sourceType)
            writer.key("created_at")
            writer.value(self.createdAt.description)
            writer.key("total_records")
            if let count = self.totalRecords { writer.value(count) } else { writer.null() }
            writer.key("field_summary")
            writer.raw(self.fieldSummary ?? .null)
            writer.member("storage_location", self.status == .stored ? self.location : nil)
            writer.key("storage_provider")
            writer.value(self.provider)
            writer.key("storage_metadata")
            writer.raw(self.storage?.json ?? .null)
            if let encryption = self.encryption {
                writer.key("encryption_key")
                writer.value(encryption.key)
            }
            if let failure = self.failure {
                writer.key("failure")
                writer.value(failure)
            }
        }
    }

    /// The event that reports the import's outcome on its flow: `import_stored` for a stored import, `import_failed`
    /// for a failed one, `nil` in any other status.
    /// - Parameter code: stable code of the failure, for `import_failed`.
    func outcomeEvent(code: String) -> FlowChange.NewEvent? {
        guard self.status == .stored || self.status == .failed,
            let type = EventType(self.status == .stored ? "import_stored" : "import_failed")
        else { return nil }
        let data = JSONText.object { writer in
            writer.key("import_id")
            writer.value(self.id.rawValue)
            writer.member("file_name", self.fileName)
            if self.status == .failed {
                writer.key("code")
                writer.value(code)
                writer.member("reason", self.failure)
                return
            }
            writer.key("total_records")
            if let count = self.totalRecords { writer.value(count) } else { writer.null() }
            writer.member("storage_location", self.location)
            writer.key("storage_provider")
            writer.value(self.provider)
            guard let storage = self.storage else { return }
            writer.key("size_bytes")
            writer.value(storage.sizeBytes)
            writer.key("original_size_bytes")
            writer.value(storage.originalSizeBytes)
            writer.key("content_hash")
            writer.value(storage.contentHash)
        }
        return FlowChange.NewEvent(type: type, data: data)
    }
}

extension JSONWriter {
    /// Writes a member with a string value, or with `null` if the value is `nil`.
    fileprivate mutating func member(_ name: String, _ value: String?) {
        self.key(name)
        if let value { self.value(value) } else { self.null() }
    }
}

extension JSONText {
    /// A JSON array of these elements in order.
    static func array(of elements: some Sequence<JSONText>) -> JSONText {
        var bytes: [UInt8] = [UInt8(ascii: "[")]
        for element in elements {
            if bytes.count > 1 { bytes.append(UInt8(ascii: ",")) }
            bytes += element.bytes
        }
        bytes.append(UInt8(ascii: "]"))
        return JSONText(unchecked: bytes)
    }
}
