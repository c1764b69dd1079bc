public import FlowCore

extension PostgresFlowStore {
    /// Key of the advisory lock that lets one instance prune at a time: "prune" in ASCII.
    private static let pruneLock: Int64 = 0x70_7275_6e65
    /// Seconds for which the row of a lock is kept after the lock has expired.
    private static let lockSeconds: Int64 = 3_600
    /// Maximum number of flows that one call of ``scan(_:)`` reads.
    private static let scanBatchSize = 10_000

    /// Deletes old events, stored replies, expired locks, revocations and tombstones, at most `policy.batch` rows per call.
    /// - Returns: the number of deleted rows.
    public func prune(_ policy: RetentionPolicy, now: Timestamp) async throws(StoreError) -> Int {
        do throws(StoreError) {
            try await self.scan(policy)
            var remaining = max(1, policy.batch)
            for (sql, seconds) in [
                (Self.agedEvents, policy.historySeconds), (Self.agedReplies, policy.replySeconds),
                (Self.agedLocks, Self.lockSeconds),
            ] where remaining > 0 {
                remaining -= try await self.prune(sql, [.time(now.advanced(bySeconds: -seconds)), .number(remaining)]) ?? 0
            }
            if policy.revocationSeconds > 0, remaining > 0 {
                let oldest = Int(now.seconds - policy.revocationSeconds)
                remaining -= try await self.prune(Self.agedRevocations, [.number(oldest), .number(remaining)]) ?? 0
            }
            if policy.tombstoneSeconds > 0, remaining > 0 {
                let moment = now.advanced(bySeconds: -policy.tombstoneSeconds)
                remaining -= try await self.prune(Self.agedTombstones, [.time(moment), .number(remaining)]) ?? 0
            }
            _ = try await self.prune(Self.usageOfEndedWriters, [.number(max(1, policy.batch))])
            let long = self.pruneCandidates.nextBatch(above: policy.historyEvents, limit: max(0, remaining))
            if !long.isEmpty, remaining > 0 {
                let removed = try await self.prune(
                    Self.longHistories,
                    [
                        .texts(long.map(\.0.rawValue)), .numbers(long.map { $0.1 - Version(policy.historyEvents) }),
                        .number(remaining),
                    ])
                remaining -= removed ?? 0
                // The flows remain candidates if the limit of rows was reached, since some may not be pruned yet, or if
                // another instance is pruning.
                if remaining == 0 || removed == nil { self.pruneCandidates.add(long) }
            } else if !long.isEmpty {
                self.pruneCandidates.add(long)
            }
            return max(1, policy.batch) - remaining
        } catch {
            self.pruneCandidates.restart()
            throw error
        }
    }

    /// A parameter of a pruning statement.
    private enum Value {
        case time(Timestamp)
        case number(Int)
        case texts([String])
        case numbers([Int64])
    }

    /// CTEs that delete events older than `$2`, at most `$3` of them. The LIMIT in the lateral subquery keeps the
    /// planner from a merge join, which would read all events in order.
    ///
    /// Only the beginning of a flow's history is deleted. If times are not in the order of versions, an event is
    /// deleted together with a later one, so that no gap appears.
    static let agedEvents = """
        doomed AS MATERIALIZED (
            SELECT e.ctid FROM (
                SELECT flow_id, max(version) AS through FROM (
                    SELECT flow_id, version FROM flow_events WHERE created_at < $2 ORDER BY created_at LIMIT $3
                ) aged GROUP BY flow_id
            ) o CROSS JOIN LATERAL (
                SELECT ctid FROM flow_events WHERE flow_id = o.flow_id AND version <= o.through ORDER BY version LIMIT $3
            ) e LIMIT $3
        ),
        gone AS (
            DELETE FROM flow_events WHERE ctid = ANY (ARRAY (SELECT ctid FROM doomed)) AND (SELECT mine FROM turn) RETURNING 1
        )
        """

    /// CTE that deletes stored replies older than `$2`, at most `$3` of them.
    private static let agedReplies = """
        gone AS (
            DELETE FROM idempotency WHERE (SELECT mine FROM turn) AND ctid = ANY (ARRAY (
                SELECT ctid FROM idempotency WHERE created_at < $2 ORDER BY created_at LIMIT $3)) RETURNING 1
        )
        """

    /// CTE that deletes locks that expired before `$2`, which is ``lockSeconds`` ago; at most `$3` of them.
    private static let agedLocks = """
        gone AS (
            DELETE FROM hub_locks WHERE (SELECT mine FROM turn) AND ctid = ANY (ARRAY (
                SELECT ctid FROM hub_locks WHERE expires_at < $2 ORDER BY expires_at LIMIT $3)) RETURNING 1
        )
        """

    /// CTE that deletes revocations with a `not_before` below `$2` that were stored before `$2`, at most `$3` of them.
    private static let agedRevocations = """
        gone AS (
            DELETE FROM revocations WHERE (SELECT mine FROM turn) AND ctid = ANY (ARRAY (
                SELECT ctid FROM revocations WHERE not_before < $2 AND extract(epoch FROM created_at) < $2 ORDER BY not_before LIMIT $3)) RETURNING 1
        )
        """

    /// CTEs that delete tombstones of flows that were deleted before `$2` and have no events any more, at most `$3` of them.
    /// Tombstones that another transaction has locked, to create the flow again, are skipped.
    ///
    /// None ends in the first day after the migration, in which instances of an earlier release may still run: they would take
    /// the missing row for a restored database, or create the flow at version 1.
    private static let agedTombstones = """
        doomed AS MATERIALIZED (
            SELECT id FROM flows f WHERE deleted_at < $2 AND (SELECT mine FROM turn)
                AND EXISTS (
                    SELECT 1 FROM schema_migrations
                    WHERE name = '0012_flow_deletions' AND applied_at < clock_timestamp() - interval '1 day')
                AND NOT EXISTS (SELECT 1 FROM flow_events e WHERE e.flow_id = f.id)
            ORDER BY deleted_at LIMIT $3 FOR UPDATE SKIP LOCKED
        ),
        gone AS (
            DELETE FROM flows f USING doomed d WHERE f.id = d.id AND f.deleted_at < $2
            RETURNING f.id, f.version, f.client_account_id, f.stored_bytes
        ),
        ended AS (
            INSERT INTO ended_versions AS v (bucket, version)
            SELECT \(StoreSQL.bucket("id")), max(version) FROM gone GROUP BY 1 ORDER BY 1
            ON CONFLICT (bucket) DO UPDATE SET version = greatest(v.version, excluded.version)
        ),
        usage AS (
            INSERT INTO account_usage AS u (account, writer, ids, state_bytes)
            SELECT client_account_id, pg_backend_pid(), -count(*), -sum(stored_bytes) FROM gone
            WHERE stored_bytes IS NOT NULL GROUP BY 1
            ON CONFLICT (account, writer) DO UPDATE
            SET ids = u.ids + excluded.ids, state_bytes = u.state_bytes + excluded.state_bytes
        )
        """

    /// CTEs that add the rows of `account_usage` whose server process has ended to the row of writer 0, at most `$2` of them.
    private static let usageOfEndedWriters = """
        gone AS (
            DELETE FROM account_usage WHERE (SELECT mine FROM turn) AND ctid = ANY (ARRAY (
                SELECT ctid FROM account_usage WHERE writer <> 0 AND writer NOT IN (SELECT pid FROM pg_stat_activity)
                LIMIT $2 FOR UPDATE SKIP LOCKED))
            RETURNING *
        ),
        kept AS (
            INSERT INTO account_usage AS u (account, writer, \(StoreSQL.counts.joined(separator: ", ")))
            SELECT account, 0, \(StoreSQL.usageSums) FROM gone GROUP BY account
            ON CONFLICT (account, writer) DO UPDATE
            SET \(StoreSQL.counts.map { "\($0) = u.\($0) + excluded.\($0)" }.joined(separator: ", "))
        )
        """

    /// CTEs that delete the events of each flow in `$2` up to its version in `$3`, at most `$4` events in total.
    static let longHistories = """
        doomed AS MATERIALIZED (
            SELECT e.ctid FROM unnest($2, $3) AS o (flow_id, through) CROSS JOIN LATERAL (
                SELECT ctid FROM flow_events WHERE flow_id = o.flow_id AND version <= o.through ORDER BY version LIMIT $4
            ) e LIMIT $4
        ),
        gone AS (
            DELETE FROM flow_events WHERE ctid = ANY (ARRAY (SELECT ctid FROM doomed)) AND (SELECT mine FROM turn) RETURNING 1
        )
        """

    /// Runs one pruning statement, which deletes a bounded number of rows. If the epoch or the timeline has changed,
    /// deletes nothing and throws `epochChanged`.
    /// - Parameter values: the parameters from `$2` on.
    /// - Returns: the number of deleted rows; `nil` while another instance prunes.
    private func prune(_ sql: String, _ values: [Value]) async throws(StoreError) -> Int? {
        var parameters = ParameterList()
        parameters.add(self.epoch.description)
        for value in values {
            switch value {
            case .time(let time): parameters.add(time)
            case .number(let number): parameters.add(number)
            case .texts(let texts): parameters.add(texts)
            case .numbers(let numbers): parameters.add(numbers)
            }
        }
        return try await self.read(.maintenance, Statement(Self.pruning(sql), parameters)) { result throws(PostgresError) in
            guard let row = result.first, row.bool(3) == true else { return nil }
            return Int(row.int64(2) ?? 0)
        }
    }

    /// The complete pruning statement around a CTE named `gone`. `$1` is the epoch; the other parameters belong to
    /// the CTE.
    static func pruning(_ sql: String) -> String {
        """
        WITH \(StoreSQL.meta),
        turn AS MATERIALIZED (
            SELECT CASE WHEN m.epoch = $1 AND m.same THEN pg_try_advisory_xact_lock(\(Self.pruneLock)) ELSE false END AS mine
            FROM meta m
        ),
        \(sql)
        SELECT m.epoch, m.same, (SELECT count(*) FROM gone), (SELECT mine FROM turn) FROM meta m
        """
    }

    /// Reads the next flows, in the order of their ids, and adds those with too many events to the prune candidates.
    /// Successive calls read all flows in this way; then calls do nothing until ``FlowCore/PruneCandidates`` restarts
    /// the scan, for example because pruning has failed.
    private func scan(_ policy: RetentionPolicy) async throws(StoreError) {
        guard let after = self.pruneCandidates.scanCursor else { return }
        var parameters = ParameterList()
        parameters.add(after)
        parameters.add(Self.scanBatchSize)
        let statement = Statement(
            """
            WITH \(StoreSQL.meta)
            SELECT m.epoch, m.same, f.id, f.version FROM meta m
            LEFT JOIN LATERAL (SELECT id, version FROM flows WHERE id > $1 ORDER BY id LIMIT $2) f ON true
            ORDER BY f.id
            """, parameters)
        let seen = try await self.read(.maintenance, statement) { result throws(PostgresError) in
            result.rows.compactMap { row in row.text(2).flatMap { FlowID($0) }.map { ($0, row.int64(3) ?? 0) } }
        }
        self.pruneCandidates.advanceScan(to: seen.count < Self.scanBatchSize ? nil : seen.last?.0.rawValue)
        self.pruneCandidates.add(seen.filter { $0.1 > policy.historyEvents })
    }
}
