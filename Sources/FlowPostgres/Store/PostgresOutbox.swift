public import FlowCore
import Synchronization

/// The table `flow_outbox`: one row for each flow that a batch changed. The row is deleted after the bus has accepted
/// the flow's event.
///
/// Ages are measured by the database's clock, so the instances' clocks need not agree.
public final class PostgresOutbox: Outbox {
    private let store: PostgresFlowStore
    /// For each flow, the highest version that the bus has accepted since the last ``deletePublished()``.
    private let published = Mutex<[FlowID: Version]>([:])

    /// - Parameter store: a store opened with ``PostgresFlowStore/Configuration/usesOutbox``.
    public init(_ store: PostgresFlowStore) { self.store = store }

    /// Records in memory that the bus has accepted these commits.
    public func markPublished(_ commits: [Commit]) {
        self.published.withLock { published in
            for commit in commits {
                let flow = commit.record.head.flow
                published[flow] = max(published[flow] ?? 0, commit.record.version)
            }
        }
    }

    /// Deletes the rows of the commits marked since the last call, and rows of the same flows with lower versions.
    public func deletePublished() async throws(StoreError) {
        let published = self.published.withLock { published in
            defer { published = [:] }
            return published
        }
        guard !published.isEmpty else { return }
        #if DEBUG
        await Failpoint.reach(.afterPublish)
        #endif
        // Rows with lower versions are deleted too: an instance that misses those events reads them from the store.
        var parameters = ParameterList()
        parameters.add(published.keys.map(\.rawValue))
        parameters.add(Array(published.values))
        let statement = Statement(
            """
            DELETE FROM flow_outbox o USING unnest($1, $2) AS d (flow_id, version)
            WHERE o.flow_id = d.flow_id AND o.version <= d.version
            """, parameters)
        do throws(PoolFailure) {
            _ = try await self.store.pool.run(.control, [statement], isRetryable: true)
        } catch {
            // The rows stay in the outbox, and the outbox relay publishes them again. Instances drop an event whose
            // version they have received before.
            throw StoreError(error.withoutEffect(.isRepeatable))
        }
    }

    /// Finds outbox rows older than 1 s, and returns for each of their flows one commit with the flow's state and
    /// latest event. Sets the age of the rows to 0, so that other callers do not find them for 1 s.
    /// - Parameter limit: the maximum number of rows.
    public func takeOverdue(limit: Int) async throws(StoreError) -> [Commit] {
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
        return try await self.store.read(.control, statement) { result throws(PostgresError) in
            var commits: [Commit] = []
            for row in result.rows {
                guard let record = try row.record(at: 2) else { continue }
                // If the event was pruned, the commit has no events, and only the version sweep delivers the change.
                commits.append(Commit(record: record, events: try row.event(at: 10).map { [$0] } ?? [], epoch: epoch))
            }
            return commits
        }
    }

    /// Deletes all rows except the newest one of each flow.
    public func compact() async throws(StoreError) {
        let statement = Statement(
            """
            DELETE FROM flow_outbox o USING (SELECT flow_id, max(version) AS newest FROM flow_outbox GROUP BY flow_id) n
            WHERE o.flow_id = n.flow_id AND o.version < n.newest
            """)
        do throws(PoolFailure) {
            _ = try await self.store.pool.run(.control, [statement], isRetryable: true)
        } catch {
            throw StoreError(error.withoutEffect(.isRepeatable))
        }
    }
}
