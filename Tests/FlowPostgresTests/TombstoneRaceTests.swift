import FlowCore
import FlowTestKit
import Testing

@testable import FlowPostgres

/// The end of a tombstone in another transaction, between two statements of a change.
@Suite(.serialized, .postgres()) struct TombstoneRaceTests {
    /// Waits until a query returns true.
    private static func wait(
        until what: String, _ condition: String, in pool: PostgresPool
    ) async throws(PoolFailure) {
        for _ in 0..<2_000 {
            if try await pool.run(.reads, [Statement("SELECT \(condition)")], isRetryable: true)[0].first?.bool(0) == true {
                return
            }
            try? await Task.sleep(for: .milliseconds(5))
        }
        Issue.record("no \(what)")
    }

    /// A change first reads the flow's row, which is skipped because it is locked. Then the tombstone ends. If the change read
    /// the versions of ended tombstones before the ids that exist, it would see neither, and start at version 1.
    @Test func tombstoneThatEndsBetweenTwoReadsKeepsItsVersion() async throws {
        let server = try SharedPostgres.server
        try await withStore(on: server) { store, database in
            let flow = try #require(FlowID("a"))
            @Sendable func version(after body: FlowChange.Body) async throws -> Version? {
                let outcome = try await store.apply(FlowChange(flow: flow, account: "1", body: body, at: start))
                if case .applied(let record, _, _) = outcome { return record.version }
                return nil
            }
            #expect(try await version(after: .patch(.emptyObject)) == 1)
            #expect(try await version(after: .delete) == 2)
            let epoch = store.epoch
            let other = try await openStore(server.url(database))
            let pool = other.pool
            let creation = try await pool.withLease(.maintenance) { lease async throws(PoolFailure) in
                let ending = """
                    WITH gone AS (DELETE FROM flows RETURNING id, version)
                    INSERT INTO ended_versions (bucket, version) SELECT \(StoreSQL.bucket("id")), version FROM gone
                    """
                let rows = try await lease.begin(
                    then: [
                        Statement("DELETE FROM flow_events"), Statement(ending), Statement("SELECT clock_timestamp()::text"),
                    ])
                let time = rows[2].first?.text(0) ?? ""
                let creation = Task { try await version(after: .patch(.emptyObject)) }
                // The change finds the row locked, is deferred, and tries again and again.
                try await Self.wait(
                    until: "deferred change",
                    """
                    EXISTS (SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND query = 'COMMIT'
                        AND query_start > '\(time)')
                    """, in: pool)
                // What an account stores is read after everything that concerns tombstones. From now on that read waits.
                _ = try await lease.run([Statement("LOCK TABLE account_usage IN ACCESS EXCLUSIVE MODE")])
                try await Self.wait(
                    until: "change that waits",
                    "EXISTS (SELECT 1 FROM pg_locks WHERE NOT granted AND relation = 'account_usage'::regclass)", in: pool)
                _ = try await lease.run([Statement("COMMIT")])
                return creation
            }
            #expect(try await creation.value == 3)
            #expect(store.epoch == epoch)
            #expect(try await server.query("SELECT version FROM flow_events", in: database) == "3")
            await other.close()
        }
    }
}
