public import FlowCore

extension PostgresFlowStore: FlowArchive {
    /// Limits of one INSERT of events: their number, and the total bytes of their payloads. A single event above the
    /// limit of bytes is inserted alone.
    static let restoreSlice = PageLimit(events: 1_000, bytes: 4_194_304)
    /// Distance to which the fencing sequence is raised above the highest fencing token of a restored flow. Tokens that
    /// are allocated between the comparison and the assignment in ``raiseFencing(above:)`` stay below the assigned
    /// value, so the assignment never sets the sequence back.
    static let fencingMargin: Int64 = 1_000_000

    /// Reads stored flows in the order of their ids, after the id `after`, tombstones included.
    public func exportFlows(after: String?, limit: Int) async throws(StoreError) -> [ArchivedFlow] {
        var parameters = ParameterList()
        parameters.add(after ?? "")
        parameters.add(limit)
        let statement = Statement(
            """
            WITH \(StoreSQL.meta)
            SELECT m.epoch, m.same, \(StoreSQL.record("f")), f.created_at FROM meta m
            LEFT JOIN LATERAL (SELECT * FROM flows WHERE id > $1 ORDER BY id LIMIT $2) f ON true
            ORDER BY f.id
            """, parameters)
        return try await self.read(.maintenance, statement) { result throws(PostgresError) in
            var flows: [ArchivedFlow] = []
            for row in result.rows {
                guard let record = try row.record(at: 2) else { continue }
                guard let createdAt = row.time(10) else { throw .unreadable }
                flows.append(ArchivedFlow(record: record, createdAt: createdAt))
            }
            return flows
        }
    }

    /// Inserts the flow with its events in one transaction, and raises the fencing sequence above the flow's
    /// highest fencing token. Changes nothing if a flow with this id exists, or if the flow's version is not above that of an
    /// ended tombstone of its group of ids.
    public func restore(_ flow: ArchivedFlow, events: [FlowEvent]) async throws(StoreError) -> RestoreOutcome {
        let id = flow.record.head.flow
        let epoch = self.epoch
        do throws(PoolFailure) {
            return try await self.pool.withLease(.control) { lease async throws(PoolFailure) in
                // Not locking: a tombstone that is being ended is found here, or has left its version in `ended_versions`.
                let found = try await lease.begin(
                    then: [ChangeStatements.read([id], locking: false), ChangeStatements.endedVersions(of: [id])])
                let existing: FlowRecord?
                do throws(PostgresError) {
                    try found[0].check(epoch)
                    existing = try found[0].first?.record(at: 2)
                } catch {
                    throw PoolFailure(error)
                }
                if let existing {
                    _ = try await lease.run([Statement("ROLLBACK")])
                    return flow.outcome(existing: existing)
                }
                // An ended tombstone of this id may have had any version up to the floor. The ids of a group share it, so a
                // flow with another id may be refused, too; another id or a new store helps.
                if let floor = found[1].first?.int64(1), floor > 0, flow.record.version <= floor {
                    _ = try await lease.run([Statement("ROLLBACK")])
                    return .conflictingVersion(floor)
                }
                for slice in Self.slices(of: events) { _ = try await lease.run([Self.insert(slice, of: id)]) }
                let growth = AccountUsage(from: nil, to: flow.record, events: events)
                // The flow's row is inserted last: until the commit, another transaction that creates the same flow
                // waits for it.
                _ = try await lease.run(
                    [
                        Self.raiseFencing(above: flow.highestFence), Self.insert(flow),
                        Self.count(growth, for: flow.record.head.account), Statement("COMMIT"),
                    ])
                return .restored
            }
        } catch {
            throw StoreError(error)
        }
    }

    /// Divides the events into slices within ``restoreSlice``, one for each INSERT.
    static func slices(of events: [FlowEvent]) -> [ArraySlice<FlowEvent>] {
        var slices: [ArraySlice<FlowEvent>] = []
        var (start, bytes) = (0, 0)
        for (index, event) in events.enumerated() {
            bytes += event.payload.bytes.count
            if index > start, index - start >= Self.restoreSlice.events || bytes > Self.restoreSlice.bytes {
                slices.append(events[start..<index])
                (start, bytes) = (index, event.payload.bytes.count)
            }
        }
        if start < events.count { slices.append(events[start...]) }
        return slices
    }

    /// Creates the statement that raises the fencing sequence above a fencing token, unless it is higher already.
    private static func raiseFencing(above token: Int64) -> Statement {
        var parameters = ParameterList()
        parameters.add(token)
        return Statement(
            "SELECT setval('hub_fencing', $1 + \(Self.fencingMargin)) FROM hub_fencing WHERE last_value <= $1", parameters)
    }

    /// Creates the statement that inserts the flow's row.
    private static func insert(_ flow: ArchivedFlow) -> Statement {
        let head = flow.record.head
        var parameters = ParameterList()
        parameters.add(head.flow.rawValue)
        parameters.add(head.account)
        parameters.add(head.status.rawValue)
        parameters.add(head.version)
        parameters.add(head.resetVersion)
        parameters.add(flow.createdAt)
        parameters.add(head.updatedAt)
        parameters.add(head.updatedAt.minutes)
        parameters.add([flow.record.fence])
        parameters.add([flow.record.state])
        parameters.add(flow.record.storedBytes)
        return Statement(
            """
            INSERT INTO flows (id, client_account_id, status, version, reset_version, created_at, updated_at, changed_minute,
                deleted_at, fence, state, stored_bytes, counted_live)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, CASE WHEN $3 = 'deleted' THEN $7 END, $9[1], $10[1], $11, $3 <> 'deleted')
            """, parameters)
    }

    /// Creates the statement that adds a difference to what the account stores.
    private static func count(_ growth: AccountUsage, for account: String) -> Statement {
        var parameters = ParameterList()
        parameters.add(account)
        for number in [growth.flows, growth.ids, growth.stateBytes, growth.historyBytes] { parameters.add(number) }
        return Statement(
            """
            INSERT INTO account_usage AS u (account, writer, flows, ids, state_bytes, history_bytes)
            VALUES ($1, pg_backend_pid(), $2, $3, $4, $5)
            ON CONFLICT (account, writer) DO UPDATE SET flows = u.flows + excluded.flows, ids = u.ids + excluded.ids,
                state_bytes = u.state_bytes + excluded.state_bytes, history_bytes = u.history_bytes + excluded.history_bytes
            """, parameters)
    }

    /// Creates the statement that inserts the flow's events.
    private static func insert(_ events: ArraySlice<FlowEvent>, of flow: FlowID) -> Statement {
        var parameters = ParameterList()
        parameters.add(flow.rawValue)
        parameters.add(events.map(\.version))
        parameters.add(events.map(\.type.rawValue))
        parameters.add(events.map(\.createdAt))
        parameters.add(events.map(\.payload))
        parameters.add(events.map { Int64($0.storedBytes) })
        return Statement(
            """
            INSERT INTO flow_events (flow_id, version, type, created_at, payload, stored_bytes)
            SELECT $1, e.* FROM unnest($2, $3, $4, $5, $6) AS e (version, type, created_at, payload, stored_bytes)
            """, parameters)
    }

    // MARK: Replies

    /// Reads up to `limit` stored replies in the order of accounts and keys, after the reply `after`.
    public func exportReplies(after: ArchivedReply?, limit: Int) async throws(StoreError) -> [ArchivedReply] {
        var parameters = ParameterList()
        parameters.add(after?.account ?? "")
        parameters.add(after?.key ?? "")
        parameters.add(limit)
        let statement = Statement(
            """
            SELECT account, key, fingerprint, status, flow_id, versions, created_at FROM idempotency
            WHERE (account, key) > ($1, $2) ORDER BY account, key LIMIT $3
            """, parameters)
        do throws(PoolFailure) {
            return try await self.pool.run(.maintenance, [statement], isRetryable: true)[0].rows.map {
                row throws(PoolFailure) in
                guard let account = row.text(0), let key = row.text(1), let fingerprint = row.text(2), let status = row.int64(3),
                    let flow = row.text(4), let versions = row.text(5), let createdAt = row.time(6)
                else { throw PoolFailure(.unreadable) }
                return ArchivedReply(
                    account: account, key: key, fingerprint: fingerprint, status: status, flow: flow, versions: versions,
                    createdAt: createdAt)
            }
        } catch {
            throw StoreError(error.withoutEffect(.isRead))
        }
    }

    /// Inserts a reply, unless the account has one under its key.
    public func restore(_ reply: ArchivedReply) async throws(StoreError) -> Bool {
        var parameters = ParameterList()
        parameters.add(reply.account)
        parameters.add(reply.key)
        parameters.add(reply.fingerprint)
        parameters.add(reply.status)
        parameters.add(reply.flow)
        parameters.add(reply.versions)
        parameters.add(reply.createdAt)
        let statement = Statement(
            """
            INSERT INTO idempotency (account, key, fingerprint, status, flow_id, versions, created_at)
            VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING RETURNING 1
            """, parameters)
        do throws(PoolFailure) {
            return try await self.pool.run(.control, [statement], isRetryable: true)[0].rowCount > 0
        } catch {
            throw StoreError(error)
        }
    }
}
