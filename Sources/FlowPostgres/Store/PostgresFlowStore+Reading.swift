public import FlowCore

extension PostgresFlowStore {
    /// Reads the flow with its state, tombstones included; `nil` if it never existed.
    public func load(_ flow: FlowID) async throws(StoreError) -> FlowRecord? {
        var parameters = ParameterList()
        parameters.add(flow.rawValue)
        let statement = Statement(
            """
            WITH \(StoreSQL.meta)
            SELECT m.epoch, m.same, \(StoreSQL.record("f")) FROM meta m LEFT JOIN flows f ON f.id = $1
            """, parameters)
        return try await self.read(.reads, statement) { result throws(PostgresError) in try result.first?.record(at: 2) }
    }

    /// Reads the flow's head and a history page after the version, in one MVCC snapshot. If the first event alone
    /// exceeds the limit of bytes, the page has only this event.
    public func page(of flow: FlowID, after version: Version, limit: PageLimit) async throws(StoreError) -> EventPage {
        var parameters = ParameterList()
        parameters.add(flow.rawValue)
        parameters.add(version)
        parameters.add(max(1, limit.events))
        parameters.add(limit.bytes)
        // One statement reads one MVCC snapshot. `pg_column_size` is a payload's size on disk, which may be compressed,
        // so the server sends somewhat more than one history page. The exact limit of bytes is applied below.
        let statement = Statement(
            """
            WITH \(StoreSQL.meta)
            SELECT m.epoch, m.same, \(StoreSQL.head("f")), e.version, e.type, e.created_at, e.payload
            FROM meta m LEFT JOIN flows f ON f.id = $1
            LEFT JOIN LATERAL (
                SELECT * FROM (
                    SELECT version, type, created_at, payload,
                        sum(pg_column_size(payload)) OVER (ORDER BY version) - pg_column_size(payload) AS before
                    FROM (
                        SELECT version, type, created_at, payload FROM flow_events
                        WHERE flow_id = f.id AND version > $2 ORDER BY version LIMIT $3
                    ) first
                ) sized WHERE before <= $4
            ) e ON true
            ORDER BY e.version
            """, parameters)
        return try await self.read(.pages, statement) { result throws(PostgresError) in
            var page = EventPage(head: try result.first?.head(at: 2), events: [])
            var bytes = 0
            for row in result.rows {
                guard let event = try row.event(at: 8) else { break }
                bytes += event.payload.bytes.count
                if !page.events.isEmpty, bytes > limit.bytes { break }
                page.events.append(event)
            }
            return page
        }
    }

    /// Reads the heads of these flows, in any order. Flows that never existed are left out.
    public func heads(of flows: [FlowID]) async throws(StoreError) -> [FlowHead] {
        var parameters = ParameterList()
        parameters.add(flows.map(\.rawValue))
        let statement = Statement(
            """
            WITH \(StoreSQL.meta)
            SELECT m.epoch, m.same, \(StoreSQL.head("f")) FROM meta m LEFT JOIN flows f ON f.id = ANY ($1)
            """, parameters)
        return try await self.read(.reads, statement, Self.heads)
    }

    /// Reads a list page of an account's flows: their heads, in the order of the query.
    public func list(_ query: FlowQuery) async throws(StoreError) -> FlowList {
        var parameters = ParameterList()
        parameters.add(query.account)
        var conditions = ["client_account_id = $1"]
        if query.statuses.count == 1, let status = query.statuses.first {
            parameters.add(status.rawValue)
            conditions.append("status = $\(parameters.count)")
        } else if !query.statuses.isEmpty {
            parameters.add(query.statuses.map(\.rawValue))
            conditions.append("status = ANY ($\(parameters.count))")
        }
        if !query.idRanges.isEmpty {
            let ranges = FlowQuery.padded(query.idRanges).map { range in
                parameters.add(range.lowerBound)
                parameters.add(range.upperBound)
                return "id BETWEEN $\(parameters.count - 1) AND $\(parameters.count)"
            }
            conditions.append("(\(ranges.joined(separator: " OR ")))")
        }
        if !query.includesDeleted { conditions.append("deleted_at IS NULL") }
        let order: String
        switch query.order {
        case .id(let after):
            order = "id"
            parameters.add(after ?? "")
            conditions.append("id > $\(parameters.count)")
        case .changed(let since, let after):
            // The index is sorted by minute, so only the flows of the same minute have to be sorted by time and id.
            order = "changed_minute, updated_at, id"
            parameters.add(since.minutes)
            conditions.append("changed_minute >= $\(parameters.count)")
            parameters.add(since)
            parameters.add(after?.rawValue ?? "")
            conditions.append("(updated_at, id) > ($\(parameters.count - 1), $\(parameters.count))")
        case .newest:
            order = "changed_minute DESC, updated_at DESC, id DESC"
        }
        let limit = max(1, query.limit)
        // One row more than requested shows whether there are more.
        parameters.add(limit + 1)
        let statement = Statement(
            """
            WITH \(StoreSQL.meta)
            SELECT m.epoch, m.same, \(StoreSQL.head("f")) FROM meta m LEFT JOIN LATERAL (
                SELECT * FROM flows WHERE \(conditions.joined(separator: " AND ")) ORDER BY \(order)
                LIMIT $\(parameters.count)
            ) f ON true
            ORDER BY \(order.split(separator: ", ").map { "f.\($0)" }.joined(separator: ", "))
            """, parameters)
        var heads = try await self.read(.reads, statement, Self.heads)
        let hasMore = heads.count > limit
        if hasMore { heads.removeLast() }
        return FlowList(flows: heads, hasMore: hasMore)
    }

    /// Reads the heads of finished flows of all accounts whose last change was before a moment.
    public func finished(before moment: Timestamp, limit: Int) async throws(StoreError) -> [FlowHead] {
        var parameters = ParameterList()
        parameters.add(moment)
        parameters.add(moment.minutes)
        parameters.add(max(1, limit))
        // The conditions are those of the index `flows_by_end`, which is sorted by minute.
        let statement = Statement(
            """
            WITH \(StoreSQL.meta)
            SELECT m.epoch, m.same, \(StoreSQL.head("f")) FROM meta m LEFT JOIN LATERAL (
                SELECT * FROM flows
                WHERE status IN ('completed', 'failed', 'cancelled') AND changed_minute <= $2 AND updated_at < $1
                ORDER BY changed_minute, updated_at LIMIT $3
            ) f ON true
            ORDER BY f.updated_at
            """, parameters)
        return try await self.read(.maintenance, statement, Self.heads)
    }

    /// Decodes the heads of all rows, whose first two columns are those of ``StoreSQL/meta``.
    private static func heads(_ result: ResultSet) throws(PostgresError) -> [FlowHead] {
        var heads: [FlowHead] = []
        heads.reserveCapacity(result.rowCount)
        for row in result.rows { if let head = try row.head(at: 2) { heads.append(head) } }
        return heads
    }

    /// Runs a statement whose first two columns are those of ``StoreSQL/meta``, compares them with the adopted epoch, and
    /// decodes the result on the caller's task.
    /// - Throws: `StoreError.epochChanged` if the epoch or the timeline has changed; `overloaded` if the read queue
    ///   is full.
    func read<Value>(
        _ workload: PoolWorkload, _ statement: Statement, _ decode: (ResultSet) throws(PostgresError) -> Value
    ) async throws(StoreError) -> Value {
        try self.reads.acquire()
        defer { self.reads.release() }
        let epoch = self.epoch
        do throws(PoolFailure) {
            let result = try await self.pool.run(workload, [statement], isRetryable: true)[0]
            do throws(PostgresError) {
                try result.check(epoch)
                return try decode(result)
            } catch {
                throw PoolFailure(error)
            }
        } catch {
            throw StoreError(error.withoutEffect(.isRead))
        }
    }
}
