public import FlowCore
import Synchronization

/// The table `flow_outbox`: one row for each change of a flow in a batch, deleted when the bus has taken it.
///
/// Time is the database's: the clocks of the instances need not agree.
public final class PostgresOutbox: Outbox {
    private let store: PostgresFlowStore
    private let done = Mutex<[FlowID: Version]>([:])

    /// - Parameter store: opened with ``PostgresFlowStore/Configuration/usesOutbox``.
    public init(_ store: PostgresFlowStore) { self.store = store }

    public func taken(_ commits: [Commit]) {
        self.done.withLock { done in
            for commit in commits {
                let flow = commit.record.head.flow
                done[flow] = max(done[flow] ?? 0, commit.record.version)
            }
        }
    }

    public func flush() async throws(StoreError) {
        let done = self.done.withLock { done in
            defer { done = [:] }
            return done
        }
        guard !done.isEmpty else { return }
        #if DEBUG
        await Failpoint.reach(.afterPublish)
        #endif
        // What is below a published version need not be published: whoever misses it reads it.
        var parameters = ParameterList()
        parameters.add(done.keys.map(\.rawValue))
        parameters.add(Array(done.values))
        let statement = Statement(
            """
            DELETE FROM flow_outbox o USING unnest($1, $2) AS d (flow_id, version)
            WHERE o.flow_id = d.flow_id AND o.version <= d.version
            """, parameters)
        do throws(PoolFailure) {
            _ = try await self.store.pool.run(.chores, [statement], isRepeatable: true)
        } catch {
            // They stay, and are published once more: nobody minds.
            throw StoreError(PoolFailure(error.error))
        }
    }

    public func overdue(limit: Int) async throws(StoreError) -> [Commit] {
        var parameters = ParameterList()
        parameters.add(limit)
        let statement = Statement(
            """
            WITH \(StoreSQL.meta),
            claimed AS (
                UPDATE flow_outbox SET created_at = clock_timestamp()
                WHERE (flow_id, version) IN (
                    SELECT flow_id, version FROM flow_outbox WHERE created_at < clock_timestamp() - interval '1 second'
                    ORDER BY created_at LIMIT $1 FOR UPDATE SKIP LOCKED)
                RETURNING flow_id
            )
            SELECT m.epoch, m.same, \(StoreSQL.record("f")), e.version, e.type, e.created_at, e.payload
            FROM meta m LEFT JOIN (SELECT DISTINCT flow_id FROM claimed) c ON true
            LEFT JOIN flows f ON f.id = c.flow_id
            LEFT JOIN flow_events e ON e.flow_id = f.id AND e.version = f.version
            """, parameters)
        let epoch = self.store.epoch
        return try await self.store.read(.chores, statement) { result throws(PostgresError) in
            var commits: [Commit] = []
            for row in result.rows {
                guard let record = try row.record(at: 2) else { continue }
                // Without its event, which was pruned, it is told by the version sweep alone.
                commits.append(Commit(record: record, events: try row.event(at: 10).map { [$0] } ?? [], epoch: epoch))
            }
            return commits
        }
    }

    public func collapse() async throws(StoreError) {
        let statement = Statement(
            """
            DELETE FROM flow_outbox o USING (SELECT flow_id, max(version) AS newest FROM flow_outbox GROUP BY flow_id) n
            WHERE o.flow_id = n.flow_id AND o.version < n.newest
            """)
        do throws(PoolFailure) {
            _ = try await self.store.pool.run(.chores, [statement], isRepeatable: true)
        } catch {
            throw StoreError(PoolFailure(error.error))
        }
    }
}
