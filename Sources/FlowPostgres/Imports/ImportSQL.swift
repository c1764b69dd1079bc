import FlowCore

/// SQL fragments for rows of `data_imports`, with the table alias `i`.
///
/// The legacy service writes the same rows, those of hubs included, and its values are read as what they can mean. An
/// import that the legacy service made, or that a hub has stored, is `stored` whatever the status column has, so that the
/// hub never deletes it as an interrupted import. The location decides where the records are: an object if there is one,
/// else rows in Postgres. The provider column only names the object's store.
enum ImportSQL {
    /// Provider of imports whose records are rows in Postgres.
    static let provider = "postgres"

    /// The import's status as the hub reads it, as text.
    static let status = """
        CASE WHEN i.claim > 0 AND i.status::text = 'deleting' THEN 'deleting' WHEN \(Self.isStored) THEN 'stored'
        ELSE i.status::text END
        """

    /// Whether the import is stored, unless it is being deleted. Only a hub's own imports (`account`) can be pending or
    /// failed, and only as long as no hub has counted their records (`content_hash`).
    private static let isStored = """
        (i.claim = 0 OR i.account IS NULL OR coalesce(i.storage_metadata ->> 'content_hash', '') <> ''
            OR coalesce(i.status::text, '') NOT IN ('pending', 'failed'))
        """

    /// The key of the import's object as text; NULL if its records are rows.
    static let location = "nullif(i.storage_location::text, '')"

    /// The provider column as text; NULL if it is empty.
    private static let recordedProvider = "nullif(i.storage_provider::text, '')"

    /// The import's provider as the hub reads it, as text. Objects of hubs on Postgres are in R2.
    static let storageProvider = """
        CASE WHEN \(Self.location) IS NOT NULL THEN coalesce(nullif(\(Self.recordedProvider), '\(Self.provider)'), 'r2')
        WHEN \(Self.isStored) THEN '\(Self.provider)' ELSE coalesce(\(Self.recordedProvider), '\(Self.provider)') END
        """

    /// The provider column if it contradicts the location; else NULL. The legacy service writes `r2` before it has stored
    /// an object, so that is no contradiction in a row that no hub has claimed.
    private static let contradictingProvider = """
        CASE WHEN \(Self.location) IS NOT NULL AND i.storage_provider::text = '\(Self.provider)'
            OR \(Self.location) IS NULL AND i.claim > 0 AND \(Self.isStored) AND \(Self.recordedProvider) <> '\(Self.provider)'
        THEN i.storage_provider::text END
        """

    /// The account as text. An index uses this exact expression, so it must not change.
    static let account = "coalesce(i.account, i.client_account_id::text)"

    /// The flow's id as text; NULL for an import without a flow.
    static let flow = "coalesce(i.flow_id, i.discovery_flow_id::text)"

    /// Whether no worker has a claim on the import that is still valid.
    static let isUnclaimed = "(i.claimed_until IS NULL OR i.claimed_until <= clock_timestamp())"

    /// Whether the numbers of the import's rows have no gaps: a hub inserted the import, or has stored its content hash
    /// after reading all records.
    static let isNumbered = "(i.account IS NOT NULL OR i.storage_metadata ->> 'content_hash' IS NOT NULL)"

    /// The columns of an import, in the order that ``ResultRow/entry()`` decodes.
    private static let list = [
        "i.id::text", "coalesce(\(Self.account), '')", Self.flow, "i.file_name::text", "i.source_type::text", Self.status,
        "i.created_at::timestamptz", "i.total_records::bigint", "coalesce(i.summary_text::text, i.field_summary::text)",
        Self.storageProvider, Self.location, "i.storage_metadata::text", "i.failure", "i.idempotency_key",
        "i.request_hash", "i.claim", "i.claimed_until", "i.encryption", Self.contradictingProvider,
    ]

    /// The columns of an import, for a SELECT or RETURNING.
    static let columns = Self.list.joined(separator: ", ")
    /// Number of ``columns``; the index of a column that follows them.
    static let columnCount = Self.list.count

    /// The SELECT of the encryption of one stored import for each name of an import key.
    static let encryptions = """
        SELECT DISTINCT ON (substring(encryption FROM '"key":"([^"]*)"')) encryption FROM data_imports i
        WHERE encryption IS NOT NULL AND \(Self.status) = 'stored' ORDER BY substring(encryption FROM '"key":"([^"]*)"'), id
        """

    /// Assignments that write an import's result when it becomes stored or its records move. They use `$3` to `$8` of
    /// ``parameters(_:_:_:)``.
    static let result = """
        status = 'stored', failure = NULL, total_records = $3, summary_text = $4, field_summary = hub_as_jsonb($4),
            storage_metadata = $5::jsonb, member_index = $6, request_hash = coalesce($7, i.request_hash),
            encryption = $8, claimed_until = NULL, updated_at = clock_timestamp()
        """

    /// The parameters `$1` to `$8`: import id, claim number, and the values of ``result``.
    static func parameters(_ id: ImportID, _ claim: Int64, _ result: ImportResult) -> ParameterList {
        var parameters = ParameterList()
        parameters.add(id.rawValue)
        parameters.add(claim)
        parameters.add(result.storage.recordCount)
        parameters.add(Optional(result.fieldSummary))
        parameters.add(Optional(result.storage.json))
        parameters.add(result.index?.json)
        parameters.add(result.requestHash)
        parameters.add(result.encryption?.json.string)
        return parameters
    }
}

extension ResultSet {
    /// Decodes the import in the first row, whose columns are ``ImportSQL/columns``; `nil` if there is no row.
    func entry() throws(StoreError) -> Import? {
        guard let row = self.first else { return nil }
        return try row.entry()
    }

    /// Decodes the imports in all rows, whose columns are ``ImportSQL/columns``.
    func entries() throws(StoreError) -> [Import] {
        var entries: [Import] = []
        entries.reserveCapacity(self.rowCount)
        for row in self.rows { entries.append(try row.entry()) }
        return entries
    }
}

extension ResultRow {
    /// Decodes the import in this row, whose columns are ``ImportSQL/columns``.
    func entry() throws(StoreError) -> Import {
        guard let id = self.text(0).flatMap({ ImportID($0) }), let account = self.text(1), let claim = self.int64(15) else {
            throw StoreError(PoolFailure(.unreadable))
        }
        var entry = Import(
            id: id, account: account, flow: self.text(2).flatMap { FlowID($0) }, fileName: self.text(3),
            sourceType: self.text(4), status: self.text(5).flatMap { Import.Status(rawValue: $0) } ?? .stored,
            createdAt: self.time(6) ?? Timestamp(milliseconds: 0), totalRecords: self.int64(7).map { Int($0) },
            fieldSummary: self.foreignJSON(8), provider: self.text(9) ?? ImportSQL.provider, location: self.text(10),
            storage: self.foreignJSON(11).flatMap { StorageMetadata($0) }, encryption: self.encryption(17),
            failure: self.text(12), idempotencyKey: self.text(13), requestHash: self.text(14), claim: claim,
            claimedUntil: self.time(16))
        entry.contradictingProvider = self.text(18)
        // SQLAlchemy writes a JSON null for no metadata.
        entry.hasUnreadableStorage = entry.storage == nil && (self.text(11) ?? "null") != "null"
        return entry
    }

    /// Decodes the encryption in a column; `nil` if it is NULL.
    func encryption(_ column: Int) -> ImportEncryption? {
        self.text(column).map { _ in ImportEncryption(stored: self.foreignJSON(column)) }
    }

    /// Decodes and validates the JSON text in a column. The text may differ from what a hub wrote: another program may
    /// have written it, and Postgres reformats JSON in a column of type `jsonb`. `nil` if the column is NULL or has no
    /// valid JSON.
    func foreignJSON(_ column: Int) -> JSONText? {
        self.text(column).flatMap { text in
            try? JSONText(
                validating: Array(text.utf8),
                limits: JSONLimits(maximumDepth: JSONLimits.greatestDepth, maximumNumberLength: .max))
        }
    }
}
