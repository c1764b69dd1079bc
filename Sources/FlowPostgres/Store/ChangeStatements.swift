import FlowCore

/// SQL statements that read and write a batch of changes.
enum ChangeStatements {
    /// Creates the statement that reads these flows. Its result has at least one row, with the columns `epoch` and
    /// `same` of ``StoreSQL/meta``. A flow that does not exist adds no row.
    /// - Parameter locking: whether to lock the flows' rows until the end of the transaction. Rows that another
    ///   transaction has locked are skipped, so the result lacks these flows.
    static func read(_ flows: [FlowID], locking: Bool) -> Statement {
        var parameters = ParameterList()
        parameters.add(flows.map(\.rawValue).sorted())
        let order = locking ? "ORDER BY id FOR UPDATE SKIP LOCKED" : ""
        return Statement(
            """
            WITH \(StoreSQL.meta)
            SELECT m.epoch, m.same, \(StoreSQL.record("f"))
            FROM meta m LEFT JOIN (SELECT * FROM flows WHERE id = ANY ($1) \(order)) f ON true
            """, parameters)
    }

    /// Creates the statement that reads which of these flows have a row. It locks nothing, so that it also finds rows
    /// that another transaction has locked.
    static func existing(_ flows: Set<FlowID>) -> Statement {
        var parameters = ParameterList()
        parameters.add(flows.map(\.rawValue))
        return Statement("SELECT id FROM flows WHERE id = ANY ($1)", parameters)
    }

    /// Creates the statement that reads the stored replies of these idempotency keys. A key without a reply adds no
    /// row.
    static func read(_ keys: [ChangeBatch.ReplyKey]) -> Statement {
        var parameters = ParameterList()
        parameters.add(keys.map(\.account))
        parameters.add(keys.map(\.key))
        return Statement(
            """
            SELECT i.account, i.key, i.fingerprint, i.status, i.flow_id, i.versions
            FROM unnest($1, $2) AS k (account, key) JOIN idempotency i ON i.account = k.account AND i.key = k.key
            """, parameters)
    }

    /// Creates the statement that reads the version above which flows start that have no row; see ``FlowCore/FlowTransition``. It
    /// is the highest version of any tombstone that has ended, and the same for all ids, so that it does not tell which of them
    /// were used. NULL if no tombstone has ended. To be sent after the statement that reads the flows: a tombstone that is missing
    /// there has left its version here.
    static let floor: Statement = {
        // With a parameter it is prepared, as it is part of each batch.
        var parameters = ParameterList()
        parameters.add(0)
        return Statement("SELECT max(version) FROM ended_versions WHERE version > $1", parameters)
    }()

    /// Creates the statement that reads for each flow a version that is not below that of any tombstone with its id that has
    /// ended. A flow whose group has none adds no row.
    static func endedVersions(of flows: Set<FlowID>) -> Statement {
        var parameters = ParameterList()
        parameters.add(flows.map(\.rawValue))
        return Statement(
            """
            SELECT f.id, e.version FROM unnest($1) AS f (id) JOIN ended_versions e ON e.bucket = \(StoreSQL.bucket("f.id"))
            """, parameters)
    }

    /// Creates the statement that reads what these accounts store. An account that stores nothing adds no row.
    static func usage(of accounts: Set<String>) -> Statement {
        var parameters = ParameterList()
        parameters.add(accounts)
        return Statement(
            """
            SELECT account, \(StoreSQL.usageSums) FROM account_usage WHERE account = ANY ($1) GROUP BY account
            """, parameters)
    }

    /// Creates the statement that writes a decided batch. A flow whose version differs from its base is not written,
    /// nor are its events and replies. Nothing is written if the epoch or the timeline has changed.
    ///
    /// Result columns: the epoch, whether the timeline is the same, and the id of a confirmed flow (one whose base was
    /// still current). The result has at least one row.
    ///
    /// - Parameters:
    ///   - checked: flows that are not written. They are confirmed if they still have these versions.
    ///   - outbox: whether to insert the written flows into the outbox. If this instance ends before the bus has
    ///     accepted their events, another instance publishes them from there.
    static func write(_ batch: ChangeBatch, checked: [(FlowID, Version)], outbox: Bool) -> Statement {
        let rows = batch.dirtyRows
        var parameters = ParameterList(capacity: Self.bytes(of: batch))
        parameters.add(batch.epoch.description)
        parameters.add(rows.map(\.flow.rawValue))
        parameters.add(rows.map { $0.row.stored?.version ?? 0 })
        let records = rows.compactMap(\.row.current)
        parameters.add(records.map(\.head.version))
        parameters.add(records.map(\.head.resetVersion))
        parameters.add(records.map(\.head.status.rawValue))
        parameters.add(records.map(\.head.account))
        parameters.add(records.map(\.head.updatedAt))
        parameters.add(records.map(\.head.updatedAt.minutes))
        parameters.add(records.map(\.fence))
        parameters.add(rows.map(\.row.newState))
        parameters.add(batch.newEvents.map(\.flow.rawValue))
        parameters.add(batch.newEvents.map(\.event.version))
        parameters.add(batch.newEvents.map(\.event.type.rawValue))
        parameters.add(batch.newEvents.map(\.event.createdAt))
        parameters.add(batch.newEvents.map(\.event.payload))
        parameters.add(records.map { Int64($0.storedBytes) })
        parameters.add(batch.newEvents.map { Int64($0.event.storedBytes) })
        var sql = Self.writeFlows
        sql += checked.isEmpty ? Self.confirmed : Self.confirmedOrUnchanged(from: parameters.count + 1)
        if !checked.isEmpty {
            parameters.add(checked.map(\.0.rawValue))
            parameters.add(checked.map(\.1))
        }
        if outbox { sql += Self.writeOutbox }
        if !batch.newReplies.isEmpty {
            sql += Self.writeReplies(from: parameters.count + 1)
            let replies = batch.newReplies.sorted { $0.key < $1.key }
            parameters.add(replies.map(\.key.account))
            parameters.add(replies.map(\.key.key))
            parameters.add(replies.map(\.reply.fingerprint))
            parameters.add(replies.map { Int64($0.reply.status) })
            parameters.add(replies.map(\.reply.flow.rawValue))
            parameters.add(replies.map { $0.reply.versions.map { "\($0)" }.joined(separator: ",") })
            parameters.add(replies.map(\.at))
        }
        sql += "\nSELECT m.epoch, m.same, s.id FROM meta m LEFT JOIN confirmed s ON true"
        return Statement(sql, parameters)
    }

    /// Estimated size of the parameters in bytes: states and payloads, and a constant for the other columns of each
    /// row.
    private static func bytes(of batch: ChangeBatch) -> Int {
        let states = batch.rows.values.reduce(0) { $0 + ($1.isDirty ? $1.newState?.bytes.count ?? 0 : 0) + 320 }
        return batch.newEvents.reduce(states + 1_024) { $0 + $1.event.payload.bytes.count + 160 }
    }

    /// CTEs that write the batch's flows and events. `done` has the ids of the written flows.
    private static let writeFlows = """
        WITH \(StoreSQL.meta),
        want AS MATERIALIZED (
            SELECT w.* FROM meta m, unnest($2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $17)
                AS w (id, base, version, reset_version, status, account, updated_at, changed_minute, fence, state, stored_bytes)
            WHERE m.epoch = $1 AND m.same
        ),
        locked AS MATERIALIZED (
            SELECT f.id, f.version, f.stored_bytes, f.counted_live FROM flows f WHERE f.id = ANY ($2) ORDER BY f.id
            -- What somebody else holds is left for later, so that it keeps nobody waiting.
            FOR UPDATE SKIP LOCKED
        ),
        updated AS (
            UPDATE flows f SET version = w.version, reset_version = w.reset_version, status = w.status,
                updated_at = w.updated_at, changed_minute = w.changed_minute, fence = w.fence, state = coalesce(w.state, f.state),
                created_at = CASE WHEN f.deleted_at IS NOT NULL AND w.status <> 'deleted' THEN w.updated_at ELSE f.created_at END,
                deleted_at = CASE WHEN w.status = 'deleted' THEN w.updated_at END,
                stored_bytes = w.stored_bytes, counted_live = w.status <> 'deleted'
            FROM want w JOIN locked l ON l.id = w.id AND l.version = w.base
            WHERE f.id = w.id AND f.version = w.base
            RETURNING f.id
        ),
        inserted AS (
            INSERT INTO flows
                (id, client_account_id, status, version, reset_version, created_at, updated_at, changed_minute, deleted_at,
                fence, state, stored_bytes, counted_live)
            SELECT id, account, status, version, reset_version, updated_at, updated_at, changed_minute,
                CASE WHEN status = 'deleted' THEN updated_at END, fence, state, stored_bytes, status <> 'deleted'
            FROM want WHERE base = 0 ORDER BY id
            ON CONFLICT (id) DO NOTHING
            RETURNING id
        ),
        done AS MATERIALIZED (SELECT id FROM updated UNION ALL SELECT id FROM inserted),
        events AS (
            INSERT INTO flow_events (flow_id, version, type, created_at, payload, stored_bytes)
            SELECT e.* FROM unnest($12, $13, $14, $15, $16, $18)
                AS e (flow_id, version, type, created_at, payload, stored_bytes)
            WHERE e.flow_id IN (SELECT id FROM done)
        ),
        -- Counts the difference to what was counted of each flow before, which is nothing if its row was written by an earlier
        -- release.
        usage AS (
            INSERT INTO account_usage AS u (account, writer, flows, ids, state_bytes, history_bytes)
            SELECT c.account, pg_backend_pid(), sum(c.flows), sum(c.ids), sum(c.state_bytes), sum(c.history_bytes) FROM (
                SELECT w.account, (w.status <> 'deleted')::int - coalesce(l.counted_live, false)::int AS flows,
                    (l.stored_bytes IS NULL)::int AS ids, w.stored_bytes - coalesce(l.stored_bytes, 0) AS state_bytes,
                    0 AS history_bytes
                FROM want w JOIN done d ON d.id = w.id LEFT JOIN locked l ON l.id = w.id
                UNION ALL
                SELECT w.account, 0, 0, 0, e.stored_bytes FROM unnest($12, $18) AS e (flow_id, stored_bytes)
                JOIN want w ON w.id = e.flow_id JOIN done d ON d.id = w.id
            ) c GROUP BY c.account
            ON CONFLICT (account, writer) DO UPDATE SET flows = u.flows + excluded.flows, ids = u.ids + excluded.ids,
                state_bytes = u.state_bytes + excluded.state_bytes, history_bytes = u.history_bytes + excluded.history_bytes
        )
        """

    /// CTE that inserts the written flows into the outbox.
    private static let writeOutbox = """
        ,
        outbox AS (
            INSERT INTO flow_outbox (flow_id, version)
            SELECT w.id, w.version FROM want w WHERE w.id IN (SELECT id FROM done)
        )
        """

    /// CTE that inserts the stored replies of confirmed flows.
    /// - Parameter first: number of the first of the seven placeholders in this CTE.
    private static func writeReplies(from first: Int) -> String {
        let placeholders = (first..<first + 7).map { "$\($0)" }.joined(separator: ", ")
        return """
            ,
            replies AS (
                INSERT INTO idempotency (account, key, fingerprint, status, flow_id, versions, created_at)
                SELECT r.* FROM meta m, unnest(\(placeholders))
                    AS r (account, key, fingerprint, status, flow_id, versions, created_at)
                WHERE m.epoch = $1 AND m.same AND r.flow_id IN (SELECT id FROM confirmed)
            )
            """
    }

    /// CTE of the confirmed flows of a batch without checked ones: the written flows.
    private static let confirmed = """
        ,
        confirmed AS MATERIALIZED (SELECT id FROM done)
        """

    /// CTE of the confirmed flows: the written ones, and the checked ones that still have the expected version.
    /// - Parameter first: number of the first of the two placeholders in this CTE: the checked flows' ids, and their
    ///   expected versions.
    private static func confirmedOrUnchanged(from first: Int) -> String {
        """
        ,
        confirmed AS MATERIALIZED (
            SELECT id FROM done
            UNION ALL
            SELECT c.id FROM unnest($\(first), $\(first + 1)) AS c (id, version)
            LEFT JOIN flows f ON f.id = c.id WHERE coalesce(f.version, 0) = c.version
        )
        """
    }
}
