import FlowCore
import FlowTestKit
import Testing

@testable import FlowPostgres

/// Concurrent transactions on the same rows, and connections that are terminated by force.
@Suite(.serialized, .postgres()) struct ImportRaceTests {
    /// A concurrent transaction that is kept open.
    private final class Other: Sendable {
        let connection: PostgresConnection

        init(_ server: PostgresServer, _ database: String) throws {
            self.connection = try PostgresConnection(PostgresSettings(url: server.url(database)))
        }

        func run(_ sql: String) throws { try self.connection.execute(sql) }
    }

    private struct Moving {
        var ledger: PostgresImportLedger
        var server: PostgresServer
        var database: String
        var claim: Int64
        var records: [JSONText]
        var digest: RowDigest
        let id: ImportID

        func switchToObject() async throws -> Bool {
            var index = GzipMemberIndex()
            index.append(GzipMemberIndex.Member(records: self.records.count, compressed: 1, uncompressed: 1))
            return try await self.ledger.switchToObject(
                self.id, claim: self.claim, location: "l", provider: "r2", expecting: self.digest,
                ImportResult(
                    storage: StorageMetadata(
                        bucket: nil, sizeBytes: 1, originalSizeBytes: 1, recordCount: self.records.count, dataHash: nil,
                        contentHash: "c0"),
                    fieldSummary: .emptyObject, index: index, samples: [], requestHash: nil))
        }

        func rows() async throws -> Int { try await self.ledger.digest(of: self.id).count }

        /// Waits until a session of the database waits for a lock.
        func waitForLock() async throws {
            try await eventually("a session to wait for a lock") {
                try await self.server.query(
                    "SELECT count(*) FROM pg_stat_activity WHERE datname = '\(self.database)' AND wait_event_type = 'Lock'",
                    in: "postgres") != "0"
            }
        }
    }

    /// Runs the body with a claimed import of a legacy service that is about to be moved to an object.
    private static func withMove(_ tables: LegacyTables, _ body: (Moving, Other) async throws -> Void) async throws {
        try await tables.withLedger { ledger, server, database in
            let id = try #require(LegacyTables.id)
            let claim = try #require(try await ledger.claim(id, from: [.stored], to: nil, seconds: 60)).claim
            let records = try await ledger.records(of: id, offset: 0, limit: 100)
            let move = Moving(
                ledger: ledger, server: server, database: database, claim: claim, records: records,
                digest: try await ledger.digest(of: id), id: id)
            try await body(move, try Other(server, database))
        }
    }

    @Test(arguments: LegacyTables.allCases)
    func keepsRowCommittedAfterMove(_ tables: LegacyTables) async throws {
        try await Self.withMove(tables) { move, other in
            try other.run("BEGIN; \(tables.insertion(30..<31))")
            #expect(try await move.switchToObject())
            try other.run("COMMIT")
            #expect(try await move.rows() == 11)
            #expect(
                try await move.server.query(
                    "SELECT raw_data ->> 'n', is_sample, record_index FROM raw_import_records WHERE record_index IS NULL",
                    in: move.database) == "30|f|")
            #expect(try await move.ledger.samples(of: move.id) == Array(move.records[..<10]))
        }
    }

    @Test(arguments: LegacyTables.allCases)
    func rowCommittedBeforeMovePreventsMove(_ tables: LegacyTables) async throws {
        try await Self.withMove(tables) { move, other in
            try other.run("BEGIN; \(tables.insertion(30..<31)); COMMIT")
            #expect(try await move.switchToObject() == false)
            #expect(try await move.rows() == 26)
        }
    }

    @Test(
        arguments: [
            "UPDATE raw_import_records SET raw_data = '{}' WHERE raw_data ->> 'n' = '15'",
            "UPDATE raw_import_records SET raw_data = '{}' WHERE raw_data ->> 'n' = '2'",
            "DELETE FROM raw_import_records WHERE raw_data ->> 'n' = '15'",
            "DELETE FROM raw_import_records WHERE raw_data ->> 'n' = '2'",
        ], [true, false])
    func committedRowChangeDuringMovePreventsMove(_ change: String, isCommitted: Bool) async throws {
        try await Self.withMove(.uuids) { move, other in
            try other.run("BEGIN; \(change)")
            async let moved = move.switchToObject()
            try await move.waitForLock()
            try other.run(isCommitted ? "COMMIT" : "ROLLBACK")
            #expect(try await moved == !isCommitted)
            #expect(try await move.rows() == (isCommitted ? (change.hasPrefix("DELETE") ? 24 : 25) : 10))
            #expect(try await move.ledger.load(move.id)?.location == (isCommitted ? nil : "l"))
        }
    }

    @Test func moveTimesOutOnLockedRow() async throws {
        try await Self.withMove(.uuids) { move, other in
            try other.run("BEGIN; SELECT * FROM raw_import_records WHERE raw_data ->> 'n' = '15' FOR UPDATE")
            await #expect(throws: StoreError.self) { try await move.switchToObject() }
            #expect(try await move.rows() == 25)
            try other.run("ROLLBACK")
            #expect(try await move.switchToObject())
        }
    }

    @Test("a claim can be extended during a move; if it is lost, nothing is moved")
    func moveFailsIfClaimIsLostDuringMove() async throws {
        try await Self.withMove(.uuids) { move, other in
            let ledger = move.ledger
            try other.run("BEGIN; SELECT * FROM raw_import_records WHERE raw_data ->> 'n' = '15' FOR UPDATE")
            async let moved = move.switchToObject()
            try await move.waitForLock()
            #expect(try await ledger.extend(move.id, claim: move.claim, seconds: 600))
            #expect(try await ledger.claim(move.id, from: [.stored], to: nil, seconds: 60) == nil)
            #expect(try await ledger.extend(move.id, claim: move.claim, seconds: 0))
            #expect(try await ledger.claim(move.id, from: [.stored], to: nil, seconds: 60) != nil)
            try other.run("ROLLBACK")
            #expect(try await moved == false)
            #expect(try await move.rows() == 25)
        }
    }

    @Test func lostConnectionReportsUnknownOutcomeOfChange() async throws {
        try await Self.withMove(.uuids) { move, other in
            let ledger = move.ledger
            let draft = ImportDraft(
                id: .random(), account: "7", flow: nil, fileName: nil, sourceType: nil, provider: "postgres", location: nil,
                idempotencyKey: nil, createdAt: start)
            _ = try await ledger.begin(draft, claimSeconds: 60)
            let record = JSONText.emptyObject
            #expect(try await ledger.append([record], at: 0, to: draft.id, account: "7", claim: 1))
            let result = ImportResult(
                storage: StorageMetadata(
                    bucket: nil, sizeBytes: 2, originalSizeBytes: 2, recordCount: 1, dataHash: nil, contentHash: ""),
                fieldSummary: .emptyObject, index: nil, samples: [record], requestHash: nil)
            let changes: [@Sendable () async throws -> Bool] = [
                { try await ledger.append([record], at: 1, to: draft.id, account: "7", claim: 1) },
                { try await ledger.finish(draft.id, claim: 1, result) },
                { try await ledger.claim(draft.id, from: [.pending], to: nil, seconds: 0) != nil },
            ]
            func terminate() async throws {
                try await move.waitForLock()
                try await move.server.query(
                    """
                    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                    WHERE datname = '\(move.database)' AND wait_event_type = 'Lock'
                    """, in: "postgres")
            }
            for change in changes {
                #expect(try await ledger.extend(draft.id, claim: 1, seconds: 0))
                try other.run("BEGIN; SELECT * FROM data_imports FOR UPDATE")
                async let outcome = Self.failure(change)
                try await terminate()
                let reason = await outcome
                if case .outcomeUnknown = reason {} else { Issue.record("unexpected: \(String(describing: reason))") }
                try other.run("ROLLBACK")
                #expect(try await ledger.load(draft.id)?.status == .pending)
            }
            // Before its commit, nothing can have taken effect.
            try other.run("BEGIN; SELECT * FROM data_imports FOR UPDATE")
            async let outcome = Self.failure { try await move.switchToObject() }
            try await terminate()
            let reason = await outcome
            if case .unavailable = reason {} else { Issue.record("unexpected: \(String(describing: reason))") }
            try other.run("ROLLBACK")
            #expect(try await move.rows() == 25)
        }
    }

    private static func failure(_ body: () async throws -> Bool) async -> StoreError? {
        do {
            _ = try await body()
            return nil
        } catch {
            return error as? StoreError
        }
    }
}
