import FlowCore
import FlowTestKit
import Foundation
import Testing

@testable import FlowPostgres

/// A store with much data and with concurrent transactions.
@Suite(.serialized, .postgres()) struct PostgresLoadTests {
    private static func change(_ flow: String, _ text: String) throws -> FlowChange {
        FlowChange(
            flow: try #require(FlowID(flow)), account: "1", body: .patch(try JSONText(validating: Array(text.utf8))), at: start)
    }

    private static func version(_ outcome: FlowOutcome) -> Version? {
        if case .applied(let record, _, _) = outcome { return record.version }
        return nil
    }

    /// Runs the body while another session holds the locks of the statement. Its transaction is rolled back
    /// afterwards.
    private static func withLock(
        _ statement: String, in database: String, on server: PostgresServer, _ body: () async throws -> Void
    ) async throws {
        let folder = try TemporaryFolder()
        defer { folder.remove() }
        try Postgres.changeOwner(folder.path)
        let sleep = "SELECT pg_sleep(120)"
        let holder = try Postgres.start(
            "psql", ["-X", "-d", server.url(database), "-c", "BEGIN; \(statement); \(sleep)"], folder: folder.path)
        func isLocked() async throws -> Bool {
            try await server.query(
                "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%\(sleep)%' AND wait_event = 'PgSleep'", in: database)
                == "1"
        }
        func end() async throws {
            _ = try await server.query(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'", in: database)
        }
        do {
            try await eventually("the rows to be locked", isLocked)
            try await body()
            try await end()
        } catch {
            try? await end()
            await holder.destroy()
            throw error
        }
        await holder.destroy()
    }

    /// Expects that changes of the waiting flows are deferred, that changes of other flows are not, and that all
    /// succeed after the lock is released.
    private static func expectOtherFlowsProceed(
        _ store: PostgresFlowStore, waiting: [String], atVersion expected: Version, whileLockedBy statement: String,
        in database: String, on server: PostgresServer
    ) async throws {
        try await withThrowingTaskGroup(of: Version?.self) { group in
            try await Self.withLock(statement, in: database, on: server) {
                for flow in waiting {
                    group.addTask { Self.version(try await store.apply(Self.change(flow, #"{"waited":true}"#))) }
                }
                var slowest = Duration.zero
                for number in 1...64 {
                    let started = ContinuousClock.now
                    _ = try await store.apply(Self.change("free-\(number % 8)", #"{"n":\#(number)}"#))
                    slowest = max(slowest, ContinuousClock.now - started)
                }
                #expect(slowest < .milliseconds(1_500), "another flow's change took \(slowest)")
                let locked = waiting.map { "'\($0)'" }.joined(separator: ",")
                #expect(
                    try await server.query(
                        "SELECT count(*) FROM flow_events WHERE flow_id IN (\(locked)) AND version >= \(expected)", in: database)
                        == "0")
            }
            var versions: [Version?] = []
            for try await version in group { versions.append(version) }
            #expect(versions == waiting.map { _ in expected })
        }
    }

    @Test func lockedRowsDelayOnlyTheirFlows() async throws {
        let server = try SharedPostgres.server
        try await withStore(on: server, settings: { $0.lockSeconds = 60 }) { store, database in
            let flows = (0..<200).map { "held-\($0)" }
            for flow in flows { _ = try await store.apply(Self.change(flow, #"{"n":0}"#)) }
            try await Self.expectOtherFlowsProceed(
                store, waiting: flows, atVersion: 2,
                whileLockedBy: "SELECT FROM flows WHERE id LIKE 'held-%' FOR UPDATE", in: database, on: server)
        }
    }

    @Test func uncommittedCreationDelaysOnlyItsFlow() async throws {
        let server = try SharedPostgres.server
        try await withStore(on: server, settings: { $0.lockSeconds = 60 }) { store, database in
            try await Self.expectOtherFlowsProceed(
                store, waiting: ["made"], atVersion: 1,
                whileLockedBy: """
                    INSERT INTO flows (id, client_account_id, status, version, reset_version, created_at, updated_at,
                        changed_minute, fence, state)
                    VALUES ('made', '1', 'active', 1, 0, now(), now(), 0, '{}', '{}')
                    """, in: database, on: server)
        }
    }

    @Test(
        "changes succeed in a database that is serializable by default, directly and through a pooler",
        arguments: [false, true])
    func changesSucceedUnderSerializableDefault(isPooled: Bool) async throws {
        let server = try SharedPostgres.server
        let database = try await newDatabase(on: server)
        try await server.query(
            "ALTER DATABASE \(database) SET default_transaction_isolation = 'serializable'", in: "postgres")
        func run(_ url: String) async throws {
            let (storeA, storeB) = (try await openStore(url), try await openStore(url))
            let outcomes = await withTaskGroup(of: Version?.self) { group in
                for number in 0..<400 {
                    let store = number % 2 == 0 ? storeA : storeB
                    group.addTask {
                        (try? await store.apply(Self.change("flow-\(number % 3)", #"{"n\#(number)":1}"#))).flatMap(Self.version)
                    }
                }
                return await group.reduce(into: []) { $0.append($1) }
            }
            #expect(outcomes.compactMap { $0 }.count == 400, "a serialization failure reached a publisher")
            #expect(try await server.query("SELECT sum(version) FROM flows", in: database) == "400")
            await storeA.close()
            await storeB.close()
        }
        if isPooled {
            try await PgBouncer.running(before: server) { try await run($0.url(database)) }
        } else {
            try await run(server.url(database))
        }
    }

    @Test func restoreSlicesHistoryAndRaisesFencingTokens() async throws {
        let megabyte = try JSONText(validating: Array(#""\#(String(repeating: "x", count: 1_000_000))""#.utf8))
        func events(_ payloads: [JSONText]) -> [FlowEvent] {
            payloads.enumerated().map { index, payload in
                FlowEvent(version: Version(index + 1), type: .stateUpdate, payload: payload, createdAt: start)
            }
        }
        let large = PostgresFlowStore.slices(of: events([JSONText](repeating: megabyte, count: 10)))
        #expect(large.map(\.count) == [4, 4, 2])
        let small = PostgresFlowStore.slices(of: events([JSONText](repeating: .emptyObject, count: 2_500)))
        #expect(small.map(\.count) == [1_000, 1_000, 500])
        let whole = try JSONText(validating: Array(#""\#(String(repeating: "x", count: 5_000_000))""#.utf8))
        #expect(PostgresFlowStore.slices(of: events([whole, whole, .emptyObject])).map(\.count) == [1, 1, 1])
        #expect(PostgresFlowStore.slices(of: []).isEmpty)
        let server = try SharedPostgres.server
        try await withStore(on: server) { store, _ in
            let flow = try #require(FlowID("old"))
            let head = FlowHead(
                flow: flow, account: "1", version: 10, status: .active, resetVersion: 0, updatedAt: start)
            let fence = try JSONText(validating: Array(#"{"a":12000000,"b":7}"#.utf8))
            let archived = ArchivedFlow(
                record: FlowRecord(head: head, state: .emptyObject, fence: fence), createdAt: start)
            let history = events([JSONText](repeating: megabyte, count: 10))
            #expect(try await store.restore(archived, events: history) == .restored)
            let page = try await store.page(of: flow, after: 0, limit: PageLimit(events: 100, bytes: .max))
            #expect(page.events == history)
            // Tokens may be allocated while the sequence is set; the margin covers them.
            let first = try await store.nextFencingToken()
            #expect(first > 12_000_000 + PostgresFlowStore.fencingMargin)
            var late = archived
            late.record.head.flow = try #require(FlowID("late"))
            let before = try await store.nextFencingToken()
            #expect(try await store.restore(late, events: history) == .restored)
            #expect(try await store.nextFencingToken() == before + 1, "the sequence was raised although it was above the fence")
        }
    }

    @Test func pruningReadsBoundedNumberOfRows() async throws {
        let server = try SharedPostgres.server
        try await withStore(on: server) { store, database in
            // Events of up to three days: a few long flows among many short ones. All but those of the last hour are
            // pruned.
            try await server.query(
                """
                INSERT INTO flow_events (flow_id, version, type, payload, created_at)
                SELECT 'long-' || f, v, 'tick', '{}', timestamptz '2026-01-01' - (20000 - v) * interval '1 second'
                FROM generate_series(1, 4) f, generate_series(1, 20000) v;
                INSERT INTO flow_events (flow_id, version, type, payload, created_at)
                SELECT 'short-' || f, v, 'tick', '{}', timestamptz '2026-01-01' - f * interval '1 second'
                FROM generate_series(1, 4000) f, generate_series(1, 5) v;
                ANALYZE flow_events
                """, in: database)
            let aged = PostgresFlowStore.pruning(PostgresFlowStore.agedEvents)
                .replacingOccurrences(of: "$1", with: "'\(store.epoch)'").replacingOccurrences(
                    of: "$2", with: "timestamptz '2026-01-01' - interval '19900 seconds'"
                )
                .replacingOccurrences(of: "$3", with: "2000")
            let long = PostgresFlowStore.pruning(PostgresFlowStore.longHistories)
                .replacingOccurrences(of: "$1", with: "'\(store.epoch)'").replacingOccurrences(
                    of: "$2", with: "'{long-1,long-2}'::text[]"
                )
                .replacingOccurrences(of: "$3", with: "'{100,200}'::int8[]").replacingOccurrences(of: "$4", with: "2000")
            func count() async throws -> Int? { Int(try await server.query("SELECT count(*) FROM flow_events", in: database)) }
            let whole = try #require(try await count())
            for (sql, left) in [(aged, whole - 4 * 99), (long, whole - 4 * 99 - 102)] {
                let plan = try await server.query("EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) \(sql)", in: database)
                #expect(try await count() == left)
                #expect(!plan.contains("Seq Scan on flow_events"), "\(plan)")
                let read = plan.split(separator: "\n").filter { $0.contains("on flow_events") }.map { line in
                    let rows = line.split(separator: "rows=").dropFirst().first?.prefix { $0.isNumber } ?? ""
                    let loops = line.split(separator: "loops=").dropFirst().first?.prefix { $0.isNumber } ?? ""
                    return (Int(rows) ?? 0) * (Int(loops) ?? 0)
                }
                #expect(!read.isEmpty)
                #expect(read.reduce(0, +) <= 3 * 2_000, "\(plan)")
            }
        }
    }
}
