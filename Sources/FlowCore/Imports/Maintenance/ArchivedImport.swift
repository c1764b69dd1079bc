/// An import in an archive: its ledger entry, as another store continues it.
public struct ArchivedImport: Hashable, Sendable {
    /// `stored` or `failed`. ``Import/storage`` describes the object in the archive.
    public var entry: Import
    /// Whether the import's event was published on its flow. If not, the hub of the new store publishes it.
    public var isAnnounced: Bool
    /// The gzip member index of the object in the archive; `nil` for a failed import.
    public var index: GzipMemberIndex?
    /// The import as its store described it when it was exported: if the store still describes it so, the archive is up to
    /// date.
    var source: JSONText

    init(entry: Import, isAnnounced: Bool, index: GzipMemberIndex?, source: JSONText) {
        self.entry = entry
        self.isAnnounced = isAnnounced
        self.index = index
        self.source = source
    }

    /// The import as JSON, for the archive.
    var json: JSONText {
        .object { writer in
            func text(_ name: String, _ value: String?) {
                writer.key(name)
                if let value { writer.value(value) } else { writer.null() }
            }
            text("id", self.entry.id.rawValue)
            text("client_account_id", self.entry.account)
            text("flow_id", self.entry.flow?.rawValue)
            text("file_name", self.entry.fileName)
            text("source_type", self.entry.sourceType)
            text("status", self.entry.status.rawValue)
            writer.key("created_at")
            writer.value(self.entry.createdAt.milliseconds)
            writer.key("field_summary")
            writer.raw(self.entry.fieldSummary ?? .null)
            writer.key("storage_metadata")
            writer.raw(self.entry.storage?.json ?? .null)
            writer.key("member_index")
            writer.raw(self.index?.json ?? .null)
            if let encryption = self.entry.encryption {
                writer.key("encryption")
                writer.raw(encryption.json)
            }
            text("failure", self.entry.failure)
            text("idempotency_key", self.entry.idempotencyKey)
            text("request_hash", self.entry.requestHash)
            writer.key("announced")
            writer.value(self.isAnnounced)
            writer.key("source")
            writer.raw(self.source)
        }
    }

    /// Reads an import from its form in an archive; `nil` if a member is missing or invalid.
    init?(_ json: JSONText) {
        guard let id = json.member("id")?.stringValue.flatMap({ ImportID($0) }),
            let account = json.member("client_account_id")?.stringValue,
            let status = json.member("status")?.stringValue.flatMap({ Import.Status(rawValue: $0) }),
            let created = json.member("created_at")?.intValue, let announced = json.member("announced")?.boolValue,
            let source = json.member("source")
        else { return nil }
        let storage = json.member("storage_metadata").flatMap { StorageMetadata($0) }
        let index = json.member("member_index").flatMap { GzipMemberIndex($0) }
        switch status {
        case .stored: guard storage != nil, index != nil else { return nil }
        case .failed: break
        case .pending, .deleting: return nil
        }
        let encryption = json.member("encryption").flatMap { ImportEncryption($0) }
        guard encryption != nil || json.member("encryption") == nil else { return nil }
        let summary = json.member("field_summary").flatMap { $0.isNull ? nil : $0 }
        let flow = json.member("flow_id")?.stringValue
        guard flow == nil || FlowID(flow ?? "") != nil else { return nil }
        self.init(
            entry: Import(
                id: id, account: account, flow: flow.flatMap { FlowID($0) }, fileName: json.member("file_name")?.stringValue,
                sourceType: json.member("source_type")?.stringValue, status: status,
                createdAt: Timestamp(milliseconds: created), totalRecords: storage?.recordCount, fieldSummary: summary,
                provider: "archive", storage: storage, encryption: encryption, failure: json.member("failure")?.stringValue,
                idempotencyKey: json.member("idempotency_key")?.stringValue,
                requestHash: json.member("request_hash")?.stringValue),
            isAnnounced: announced, index: index, source: source)
    }

    /// Whether a store's import is this one: equal account, status, records.
    func isSame(as other: Import) -> Bool {
        other.account == self.entry.account && other.status == self.entry.status
            && (self.entry.status == .failed
                || other.storage?.contentHash == self.entry.storage?.contentHash
                    && other.totalRecords == self.entry.totalRecords)
    }
}

/// What an archive of imports has in total. It is written last; an archive without it is incomplete.
public struct ImportArchiveTotals: Hashable, Sendable {
    public var stored = 0
    public var failed = 0
    public var records = 0

    public init() {}

    public var imports: Int { self.stored + self.failed }

    /// Adds an import.
    public mutating func add(_ archived: ArchivedImport) {
        if archived.entry.status == .stored { self.stored += 1 } else { self.failed += 1 }
        self.records += archived.entry.totalRecords ?? 0
    }

    var json: JSONText {
        .object { writer in
            for (name, value) in [("stored", self.stored), ("failed", self.failed), ("records", self.records)] {
                writer.key(name)
                writer.value(value)
            }
        }
    }

    init?(_ json: JSONText) {
        let values = ["stored", "failed", "records"].map { json.member($0)?.intValue.map { Int($0) } }
        guard let stored = values[0], let failed = values[1], let records = values[2] else { return nil }
        (self.stored, self.failed, self.records) = (stored, failed, records)
    }
}
