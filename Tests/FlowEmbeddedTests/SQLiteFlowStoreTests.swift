import FlowCore
import FlowTestKit
import Foundation
import GRDB
import Testing

@testable import FlowEmbedded

/// Behavior that is specific to the SQLite store.
@Suite struct SQLiteFlowStoreTests {
    private func change(_ name: String, _ type: String = "tick", data: String = "1") throws -> FlowChange {
        FlowChange(
            flow: try #require(FlowID(name)), account: "1",
            body: .publish([.init(type: try #require(EventType(type)), data: try JSONText(validating: data.utf8))]), at: start)
    }

    /// Another connection to the same file, as an operator's command opens one.
    private func secondConnection(_ folder: String) throws -> DatabaseQueue {
        try DatabaseQueue(path: folder + "/flowhub.sqlite")
    }

    @Test func failedChangeDoesNotAffectRestOfBatch() async throws {
        try await withStore { store, folder in
            try await self.secondConnection(folder).write { database in
                try database.execute(
                    sql: """
                        CREATE TRIGGER poison BEFORE INSERT ON flow_events WHEN NEW.type = 'poison'
                        BEGIN SELECT RAISE(ABORT, 'poison'); END
                        """)
            }
            let outcomes = try await withThrowingTaskGroup(of: (Int, Result<FlowOutcome, StoreError>).self) { group in
                for number in 0..<200 {
                    let change = try self.change("f\(number)", number == 77 ? "poison" : "tick")
                    group.addTask {
                        do throws(StoreError) {
                            return (number, .success(try await store.apply(change)))
                        } catch {
                            return (number, .failure(error))
                        }
                    }
                }
                return try await group.reduce(into: []) { $0.append($1) }
            }
            for (number, outcome) in outcomes {
                switch outcome {
                case .success(.applied(let record, _, _)):
                    #expect(number != 77)
                    #expect(record.version == 1)
                case .failure(.unavailable(let reason)):
                    #expect(number == 77)
                    #expect(!reason.contains("poison"))
                default: Issue.record("\(number): \(outcome)")
                }
            }
            #expect(try await store.list(FlowQuery(account: "1", limit: 1_000)).flows.count == 199)
        }
    }

    @Test func rereadsRowsChangedByAnotherProcess() async throws {
        try await withStore { store, folder in
            _ = try await store.apply(try self.change("a"))
            try await self.secondConnection(folder).write { database in
                try database.execute(sql: "UPDATE flows SET version = 41 WHERE id = 'a'")
            }
            guard case .applied(let record, _, _) = try await store.apply(try self.change("a")) else {
                Issue.record("not applied")
                return
            }
            #expect(record.version == 42)
        }
    }

    @Test func writeProbeFailsWhileDatabaseIsLocked() async throws {
        var configuration = SQLiteFlowStore.Configuration()
        configuration.busySeconds = 0
        try await withStore(configuration) { store, folder in
            var lockingConfiguration = GRDB.Configuration()
            lockingConfiguration.allowsUnsafeTransactions = true
            let secondConnection = try DatabaseQueue(path: folder + "/flowhub.sqlite", configuration: lockingConfiguration)
            try await secondConnection.writeWithoutTransaction { try $0.execute(sql: "BEGIN IMMEDIATE") }
            await #expect(throws: StoreError.self) { try await store.probeWrite() }
            #expect(try await store.heads(of: []).isEmpty, "reads go on")
            try await secondConnection.writeWithoutTransaction { try $0.execute(sql: "ROLLBACK") }
            // `data_version` shows another connection whether something was committed. An update without a change
            // commits nothing.
            func dataVersion() async throws -> Int? {
                try await secondConnection.writeWithoutTransaction { try Int.fetchOne($0, sql: "PRAGMA data_version") }
            }
            let before = try await dataVersion()
            try await store.probeWrite()
            #expect(try await dataVersion() != before)
        }
    }

    @Test func usesWALWithFullSynchronization() async throws {
        try await withStore { store, folder in
            _ = try await store.apply(try self.change("a"))
            // The synchronous mode is a property of a connection, so another connection can only check the journal
            // mode.
            let mode = try await self.secondConnection(folder).read { try String.fetchOne($0, sql: "PRAGMA journal_mode") }
            #expect(mode == "wal")
            let synchronous = try await store.pool.writeWithoutTransaction { try Int.fetchOne($0, sql: "PRAGMA synchronous") }
            #expect(synchronous == 2)
        }
    }

    /// SQLite builds a temporary table for each evaluation of `IN` in the condition of a partial index.
    @Test func changeOfFlowBuildsNoTemporaryTable() async throws {
        try await withStore { store, folder in
            let (changes, finds) = try await self.secondConnection(folder).read { database in
                let changes = try Row.fetchAll(
                    database, sql: "EXPLAIN UPDATE flows SET version = 2, updated_at = 2, status = 'failed' WHERE id = 'a'")
                let finds = try Row.fetchAll(
                    database,
                    sql: """
                        EXPLAIN QUERY PLAN SELECT id FROM flows
                        WHERE (status = 'completed' OR status = 'failed' OR status = 'cancelled') AND updated_at < 2
                        ORDER BY updated_at LIMIT 2
                        """)
                return (changes.map { $0["opcode"] as String }, finds.map { $0["detail"] as String })
            }
            #expect(changes.contains("IdxInsert"))
            #expect(!changes.contains("OpenEphemeral"))
            #expect(finds == ["SEARCH flows USING INDEX flows_by_end (updated_at<?)"])
        }
    }

    @Test func rejectsOnlyChangesOverQueueLimit() async throws {
        var configuration = SQLiteFlowStore.Configuration()
        configuration.limits.waitingChanges = 8
        try await withStore(configuration) { store, _ in
            let rejected = try await withThrowingTaskGroup(of: Bool.self) { group in
                for number in 0..<500 {
                    let change = try self.change("f\(number)")
                    group.addTask {
                        do {
                            _ = try await store.apply(change)
                            return false
                        } catch StoreError.overloaded {
                            return true
                        }
                    }
                }
                return try await group.reduce(into: 0) { $0 += $1 ? 1 : 0 }
            }
            #expect(try await store.list(FlowQuery(account: "1", limit: 1_000)).flows.count == 500 - rejected)
            _ = try await store.apply(try self.change("after"))
        }
    }

    @Test func batchesStayWithinLimits() async throws {
        var configuration = SQLiteFlowStore.Configuration()
        configuration.limits.groupChanges = 7
        configuration.limits.groupBytes = 100
        try await withStore(configuration) { store, _ in
            store.observeCommits { commits in
                #expect(commits.count <= 7)
                #expect(commits.count == 1 || commits.reduce(0) { $0 + $1.events[0].payload.bytes.count } <= 100 + 9 * 7)
            }
            try await withThrowingTaskGroup(of: Void.self) { group in
                for number in 0..<200 {
                    let length = number % 11 == 0 ? 300 : 20
                    let change = try self.change("a", data: "\"" + String(repeating: "x", count: length) + "\"")
                    group.addTask { _ = try await store.apply(change) }
                }
                try await group.waitForAll()
            }
            #expect(try await store.load(try #require(FlowID("a")))?.version == 200)
        }
    }

    @Test func closedStoreRejectsOperationsAndKeepsCommits() async throws {
        try await withTemporaryFolder { folder in
            let store = try openStore(folder)
            let answered = try await withThrowingTaskGroup(of: Bool.self) { group in
                for number in 0..<300 {
                    let change = try self.change("f\(number)")
                    group.addTask {
                        do {
                            _ = try await store.apply(change)
                            return true
                        } catch StoreError.unavailable(let reason) {
                            #expect(reason == "the store is shutting down")
                            return false
                        }
                    }
                }
                group.addTask {
                    await store.close()
                    return false
                }
                return try await group.reduce(into: 0) { $0 += $1 ? 1 : 0 }
            }
            await store.close()
            await #expect(throws: StoreError.unavailable("the store is shutting down")) { try await store.heads(of: []) }
            await #expect(throws: StoreError.unavailable("the store is shutting down")) { try await store.nextFencingToken() }
            let again = try openStore(folder)
            #expect(again.hubID == store.hubID)
            #expect(try await again.list(FlowQuery(account: "1", limit: 1_000)).flows.count == answered)
            await again.close()
        }
    }

    @Test func reopeningContinuesVersionsAndLeavesNoWALFile() async throws {
        try await withTemporaryFolder { folder in
            for round in 1...20 {
                let store = try openStore(folder)
                guard case .applied(let record, _, _) = try await store.apply(try self.change("a")) else { return }
                #expect(record.version == Version(round))
                await store.close()
            }
            // An orderly close merges the WAL into the database file.
            #expect(!FileManager.default.fileExists(atPath: folder + "/flowhub.sqlite-wal"))
        }
    }

    @Test func reportsFolderThatCannotBeCreated() throws {
        let file = FileManager.default.temporaryDirectory.appendingPathComponent("flowhub-\(UUID().uuidString)").path
        #expect(FileManager.default.createFile(atPath: file, contents: Data("no folder".utf8)))
        defer { try? FileManager.default.removeItem(atPath: file) }
        let error = #expect(throws: EmbeddedStoreError.self) { _ = try openStore(file + "/data") }
        #expect(error?.code == .folder)
    }

    @Test func rejectsNonDatabaseFile() async throws {
        try await withTemporaryFolder { folder in
            try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
            let noise = Data(String(repeating: "no database ", count: 1_000).utf8)
            #expect(FileManager.default.createFile(atPath: folder + "/flowhub.sqlite", contents: noise))
            let error = #expect(throws: EmbeddedStoreError.self) { _ = try openStore(folder) }
            #expect(error?.code == .database)
        }
    }

    @Test func opensDatabaseWithNewerSchema() async throws {
        try await withTemporaryFolder { folder in
            try await openStore(folder).close()
            try await self.secondConnection(folder).write { database in
                try database.execute(sql: "INSERT INTO schema_migrations (version, name, applied_at) VALUES (99, 'later', 0)")
                try database.execute(sql: "ALTER TABLE flows ADD COLUMN later TEXT")
            }
            let store = try openStore(folder)
            _ = try await store.apply(try self.change("a"))
            await store.close()
        }
    }
}
