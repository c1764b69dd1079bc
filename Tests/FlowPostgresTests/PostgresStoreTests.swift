import FlowCore
import FlowTestKit
import Synchronization
import Testing

@testable import FlowPostgres

/// Behavior that only a store of several instances has.
@Suite(.serialized, .postgres()) struct PostgresStoreTests {
    private static func change(_ flow: String, _ text: String, key: String? = nil) throws -> FlowChange {
        FlowChange(
            flow: try #require(FlowID(flow)), account: "1", body: .patch(try JSONText(validating: Array(text.utf8))),
            idempotency: key.map { .init(key: $0, fingerprint: "f") }, at: start)
    }

    private static func version(_ outcome: FlowOutcome) -> Version? {
        if case .applied(let record, _, _) = outcome { return record.version }
        return nil
    }

    @Test(arguments: LockServiceContract.cases)
    func locksMeetContract(_ promise: LockServiceContract.Case) async throws {
        try await withStore(on: try SharedPostgres.server) { store, _ in
            try await promise.run(PostgresLockService(store, limits: LockServiceContract.limits))
        }
    }

    /// What Postgres cannot hold is no failure of the store, which a retry would help.
    @Test func valueThatPostgresRejectsIsInvalid() async throws {
        try await withStore(on: try SharedPostgres.server) { store, _ in
            await #expect {
                try await store.list(FlowQuery(account: "1", statuses: [FlowStatus(stored: "a\0b")], limit: 1))
            } throws: { error in
                if case .invalidValue = error as? StoreError { true } else { false }
            }
        }
    }

    /// A row of an earlier version has the bare resource, which all accounts shared.
    @Test func lockOfEarlierVersionStaysWithItsAccount() async throws {
        let server = try SharedPostgres.server
        try await withStore(on: server) { store, database in
            let until = start.advanced(bySeconds: 60)
            try await server.query(
                "INSERT INTO hub_locks VALUES ('r', '7', 'secret', nextval('hub_fencing'), to_timestamp(\(until.seconds)))",
                in: database)
            let locks = PostgresLockService(store)
            await #expect(throws: LockError.held(until: until)) {
                try await locks.acquire("r", account: "7", seconds: 1, now: start)
            }
            await #expect(throws: LockError.otherHolder) {
                try await locks.release("r", account: "7", lock: "x", now: start)
            }
            await #expect(throws: LockError.notHeld) { try await locks.release("r", account: "8", lock: "secret", now: start) }
            let other = try await locks.acquire("r", account: "8", seconds: 1, now: start)
            let renewed = try await locks.renew("r", account: "7", lock: "secret", seconds: 90, now: start)
            #expect(renewed.expiresAt == start.advanced(bySeconds: 90) && renewed.fencingToken < other.fencingToken)
            try await locks.release("r", account: "7", lock: "secret", now: start)
            #expect(try await locks.acquire("r", account: "7", seconds: 1, now: start).fencingToken > other.fencingToken)
        }
    }

    @Test func changeUsesLatestVersionOfOtherInstance() async throws {
        let server = try SharedPostgres.server
        try await withStore(on: server) { storeA, database in
            let storeB = try await openStore(server.url(database))
            for round in 1...20 {
                let (first, second) = round % 2 == 0 ? (storeA, storeB) : (storeB, storeA)
                #expect(Self.version(try await first.apply(Self.change("a", #"{"x\#(round)":1}"#))) == Version(2 * round - 1))
                #expect(Self.version(try await second.apply(Self.change("a", #"{"y\#(round)":1}"#))) == Version(2 * round))
            }
            // A patch without effect is answered with the stored version, not the cached one.
            if case .unchanged(let record) = try await storeA.apply(Self.change("a", #"{"y20":1}"#)) {
                #expect(record.version == 40)
            } else {
                Issue.record("the patch must not change the flow")
            }
            #expect(Self.version(try await storeB.apply(Self.change("a", #"{"z":1}"#))) == 41)
            if case .unchanged(let record) = try await storeA.apply(Self.change("a", #"{"y20":1}"#)) {
                #expect(record.version == 41)
            } else {
                Issue.record("the patch must not change the flow")
            }
            let flow = try #require(FlowID("a"))
            let events = try await storeA.page(of: flow, after: 0, limit: PageLimit(events: 100, bytes: .max)).events
            #expect(events.map(\.version) == Array(1...41))
            await storeB.close()
        }
    }

    @Test func raisesEpochBeforeWritingToRestoredDatabase() async throws {
        let server = try SharedPostgres.server
        try await withStore(on: server) { store, database in
            for number in 1...5 { _ = try await store.apply(Self.change("a", #"{"n":\#(number)}"#)) }
            let before = store.epoch
            try await server.query(
                "UPDATE flows SET version = 3 WHERE id = 'a'; DELETE FROM flow_events WHERE version > 3", in: database)
            await #expect(throws: StoreError.epochChanged) { try await store.apply(Self.change("a", #"{"n":40}"#)) }
            #expect(store.epoch > before)
            #expect(try await server.query("SELECT version FROM flows", in: database) == "3")
            #expect(Self.version(try await store.apply(Self.change("a", #"{"n":40}"#))) == 4)
        }
    }

    private static func delete(_ flow: FlowID, in store: PostgresFlowStore) async throws -> Version? {
        Self.version(try await store.apply(FlowChange(flow: flow, account: "1", body: .delete, at: start)))
    }

    /// Lets all tombstones end that may end.
    private static func endTombstones(in store: PostgresFlowStore) async throws {
        var policy = RetentionPolicy()
        policy.historySeconds = 1
        policy.tombstoneSeconds = 1
        while try await store.prune(policy, now: start.advanced(bySeconds: 100)) > 0 {}
    }

    @Test func endOfTombstoneElsewhereDoesNotLookLikeRestoredDatabase() async throws {
        let server = try SharedPostgres.server
        try await withStore(on: server) { storeA, database in
            let storeB = try await openStore(server.url(database))
            let flow = try #require(FlowID("a"))
            #expect(Self.version(try await storeA.apply(Self.change("a", #"{"n":1}"#))) == 1)
            #expect(try await Self.delete(flow, in: storeB) == 2)
            try await Self.endTombstones(in: storeB)
            #expect(try await storeB.load(flow) == nil)
            let epoch = storeA.epoch
            #expect(Self.version(try await storeA.apply(Self.change("a", #"{"n":2}"#))) == 3)
            #expect(storeA.epoch == epoch)
            await storeB.close()
        }
    }

    @Test func tombstonesDoNotEndInFirstDayAfterMigration() async throws {
        let server = try SharedPostgres.server
        try await withStore(on: server) { store, database in
            let flow = try #require(FlowID("a"))
            _ = try await store.apply(Self.change("a", #"{"n":1}"#))
            #expect(try await Self.delete(flow, in: store) == 2)
            for (hours, version) in [(23, 2), (25, nil)] as [(Int, Version?)] {
                try await server.query(
                    "UPDATE schema_migrations SET applied_at = now() - interval '\(hours) hours'", in: database)
                try await Self.endTombstones(in: store)
                #expect(try await store.load(flow)?.version == version, "after \(hours) hours")
            }
        }
    }

    @Test func idempotencyKeyAppliesOnceAcrossInstances() async throws {
        let server = try SharedPostgres.server
        try await withStore(on: server) { storeA, database in
            let storeB = try await openStore(server.url(database))
            _ = try await storeA.apply(Self.change("old", #"{"n":0}"#))
            for round in 0..<20 {
                let flow = round % 2 == 0 ? "old" : "new-\(round)"
                let outcomes = try await withThrowingTaskGroup(of: FlowOutcome.self) { group in
                    for store in [storeA, storeB, storeA, storeB] {
                        group.addTask { try await store.apply(Self.change(flow, #"{"r\#(round)":1}"#, key: "k\(round)")) }
                    }
                    return try await group.reduce(into: []) { $0.append($1) }
                }
                #expect(outcomes.compactMap(Self.version).count == 1)
                let replays = outcomes.filter { if case .replayed = $0 { true } else { false } }
                #expect(replays.count == 3)
            }
            #expect(try await server.query("SELECT count(*) FROM flow_events WHERE flow_id = 'old'", in: database) == "11")
            await storeB.close()
        }
    }

    @Test func concurrentCreationsGetDistinctVersions() async throws {
        let server = try SharedPostgres.server
        try await withStore(on: server) { storeA, database in
            let storeB = try await openStore(server.url(database))
            let versions = try await withThrowingTaskGroup(of: (String, Version?).self) { group in
                for number in 0..<200 {
                    for (name, store) in [("h", storeA), ("t", storeB)] {
                        let flow = "flow-\(number)"
                        group.addTask { (flow, Self.version(try await store.apply(Self.change(flow, #"{"\#(name)":1}"#)))) }
                    }
                }
                return try await group.reduce(into: [String: [Version]]()) { all, one in
                    if let version = one.1 { all[one.0, default: []].append(version) }
                }
            }
            #expect(versions.count == 200)
            #expect(versions.values.allSatisfy { $0.sorted() == [1, 2] })
            await storeB.close()
        }
    }

    @Test func rejectedChangeDoesNotAffectRestOfBatch() async throws {
        let server = try SharedPostgres.server
        try await withStore(on: server) { store, database in
            // A CHECK constraint stands for any value that the database rejects.
            try await server.query("ALTER TABLE flows ADD CONSTRAINT no_poison CHECK (id <> 'poison')", in: database)
            let outcomes = await withTaskGroup(of: (String, Bool).self) { group in
                for number in 0..<50 {
                    let flow = number == 25 ? "poison" : "flow-\(number)"
                    group.addTask { (flow, ((try? await store.apply(Self.change(flow, "{}"))).flatMap(Self.version)) == 1) }
                }
                return await group.reduce(into: [:]) { $0[$1.0] = $1.1 }
            }
            #expect(outcomes["poison"] == false)
            #expect(outcomes.filter { $0.value }.count == 49)
        }
    }

    @Test func outboxReturnsOverdueCommitsUntilAccepted() async throws {
        let server = try SharedPostgres.server
        var configuration = PostgresFlowStore.Configuration()
        configuration.usesOutbox = true
        try await withStore(on: server, configuration) { store, database in
            let outbox = PostgresOutbox(store)
            for number in 1...3 { _ = try await store.apply(Self.change("a", #"{"n":\#(number)}"#)) }
            _ = try await store.apply(Self.change("b", #"{"n":1}"#))
            func count() async throws -> String { try await server.query("SELECT count(*) FROM flow_outbox", in: database) }
            #expect(try await count() == "4")
            #expect(try await outbox.takeOverdue(limit: 10).isEmpty, "the row is younger than 1 s")
            try await outbox.compact()
            #expect(try await count() == "2")
            try await server.query("UPDATE flow_outbox SET created_at = created_at - interval '2 seconds'", in: database)
            let overdue = try await outbox.takeOverdue(limit: 10).sorted {
                $0.record.head.flow.rawValue < $1.record.head.flow.rawValue
            }
            #expect(overdue.map(\.record.version) == [3, 1])
            #expect(overdue.map { $0.events.map(\.version) } == [[3], [1]])
            #expect(try await outbox.takeOverdue(limit: 10).isEmpty, "the row was returned less than 1 s ago")
            outbox.markPublished(overdue)
            try await outbox.deletePublished()
            #expect(try await count() == "0")
        }
    }

    @Test func storeWithoutOutboxWritesNoOutboxRows() async throws {
        let server = try SharedPostgres.server
        try await withStore(on: server) { store, database in
            _ = try await store.apply(Self.change("a", #"{"n":1}"#))
            #expect(try await server.query("SELECT count(*) FROM flow_outbox", in: database) == "0")
        }
    }
}
