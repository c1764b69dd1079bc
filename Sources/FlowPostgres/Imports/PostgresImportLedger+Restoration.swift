public import FlowCore

extension PostgresImportLedger: ImportRestoration {
    /// Inserts an import of another store; see ``ImportRestoration/insert(_:isAnnounced:claimSeconds:)``.
    public func insert(_ entry: Import, isAnnounced: Bool, claimSeconds: Int) async throws(StoreError) -> Bool {
        var parameters = ParameterList()
        parameters.add(entry.id.rawValue)
        parameters.add(entry.account)
        parameters.add(entry.flow?.rawValue)
        parameters.add(entry.fileName)
        parameters.add(entry.sourceType)
        parameters.add(entry.provider)
        parameters.add(entry.location)
        parameters.add(entry.idempotencyKey)
        parameters.add(entry.createdAt)
        parameters.add(claimSeconds)
        parameters.add((entry.status == .failed ? Import.Status.failed : .deleting).rawValue)
        parameters.add(entry.failure)
        parameters.add(entry.requestHash)
        parameters.add(entry.fieldSummary)
        parameters.add(isAnnounced ? 1 : 0)
        // A stored import's counts and hashes follow with its records.
        let sql = """
            INSERT INTO data_imports AS i (id, account, client_account_id, flow_id, discovery_flow_id, file_name, source_type,
                storage_provider, storage_location, idempotency_key, created_at, updated_at, status, claim, claimed_until,
                failure, request_hash, summary_text, field_summary, announced_at)
            VALUES ($1::uuid, $2, hub_as_account($2), $3, hub_as_flow($3), $4, $5, $6, $7, $8, $9, clock_timestamp(), $11,
                1, CASE WHEN $11 <> 'failed' THEN clock_timestamp() + $10 * interval '1 second' END,
                $12, $13, $14, hub_as_jsonb($14), CASE WHEN $15 = 1 THEN clock_timestamp() END)
            ON CONFLICT DO NOTHING RETURNING 1
            """
        return try await self.change(Statement(sql, parameters)).rowCount == 1
    }
}
