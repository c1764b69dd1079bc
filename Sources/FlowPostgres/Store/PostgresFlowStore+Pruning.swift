public import FlowCore

extension PostgresFlowStore {
    /// Of the advisory lock that lets one instance prune at a time: "prune" in ASCII.
    private static let pruneLock: Int64 = 0x70_7275_6e65
    /// How long a lock that ran out is remembered.
    private static let lockSeconds: Int64 = 3_600
    /// Flows that one call looks at in the walk after the start.
    private static let walkSlice = 10_000

    /// Tombstones stay: a version must never mean two things, however long ago the flow was deleted.
    public func prune(_ policy: RetentionPolicy, now: Timestamp) async throws(StoreError) -> Int {
        do throws(StoreError) {
            try await self.walk(policy)
            var left = max(1, policy.batch)
            for (sql, seconds) in [
                (Self.agedEvents, policy.historySeconds), (Self.agedReplies, policy.replySeconds),
                (Self.agedLocks, Self.lockSeconds),
            ] where left > 0 {
                left -= try await self.prune(sql, [.time(now.advanced(bySeconds: -seconds)), .number(left)]) ?? 0
            }
            let long = self.trims.take(above: policy.historyEvents, limit: max(0, left))
            if !long.isEmpty, left > 0 {
                let removed = try await self.prune(
                    Self.longHistories,
                    [
                        .texts(long.map(\.0.rawValue)), .numbers(long.map { $0.1 - Version(policy.historyEvents) }),
                        .number(left),
                    ])
                left -= removed ?? 0
                // Once more later: they may not be done, or another instance was at it.
                if left == 0 || removed == nil { self.trims.add(long) }
            } else if !long.isEmpty {
                self.trims.add(long)
            }
            return max(1, policy.batch) - left
        } catch {
            self.trims.restart()
            throw error
        }
    }

    private enum Value {
        case time(Timestamp)
        case number(Int)
        case texts([String])
        case numbers([Int64])
    }

    /// The lateral limits keep the planner from reading all events in order, which a merge join would.
    ///
    /// What goes is always the beginning of a flow's history: where times are not in the order of the versions, an event goes
    /// with a later one rather than leave a hole.
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

    private static let agedReplies = """
        gone AS (
            DELETE FROM idempotency WHERE (SELECT mine FROM turn) AND ctid = ANY (ARRAY (
                SELECT ctid FROM idempotency WHERE created_at < $2 ORDER BY created_at LIMIT $3)) RETURNING 1
        )
        """

    /// Locks that ran out a while ago. Until then a holder who comes late is told what became of his.
    private static let agedLocks = """
        gone AS (
            DELETE FROM hub_locks WHERE (SELECT mine FROM turn) AND ctid = ANY (ARRAY (
                SELECT ctid FROM hub_locks WHERE expires_at < $2 ORDER BY expires_at LIMIT $3)) RETURNING 1
        )
        """

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

    /// One bounded statement. Removes nothing under another epoch.
    /// - Returns: `nil` while another instance prunes.
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
        return try await self.read(.housekeeping, Statement(Self.pruning(sql), parameters)) { result throws(PostgresError) in
            guard let row = result.first, row.bool(3) == true else { return nil }
            return Int(row.int64(2) ?? 0)
        }
    }

    /// The whole statement around what is to go. `$1` is the epoch, the rest is the part's own.
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

    /// Goes on with the walk over all flows that follows a start.
    private func walk(_ policy: RetentionPolicy) async throws(StoreError) {
        guard let after = self.trims.walkAfter else { return }
        var parameters = ParameterList()
        parameters.add(after)
        parameters.add(Self.walkSlice)
        let statement = Statement(
            """
            WITH \(StoreSQL.meta)
            SELECT m.epoch, m.same, f.id, f.version FROM meta m
            LEFT JOIN LATERAL (SELECT id, version FROM flows WHERE id > $1 ORDER BY id LIMIT $2) f ON true
            ORDER BY f.id
            """, parameters)
        let seen = try await self.read(.housekeeping, statement) { result throws(PostgresError) in
            result.rows.compactMap { row in row.text(2).flatMap { FlowID($0) }.map { ($0, row.int64(3) ?? 0) } }
        }
        self.trims.walked(to: seen.count < Self.walkSlice ? nil : seen.last?.0.rawValue)
        self.trims.add(seen.filter { $0.1 > policy.historyEvents })
    }
}
