import FlowCore
import FlowEmbedded
import FlowTestKit
import Foundation
import GRDB
import Testing

@Suite struct ImportServiceTests {
    /// A second connection to the database file, which bypasses the store.
    private static func file(_ folder: String) throws -> DatabaseQueue {
        var configuration = Configuration()
        configuration.busyMode = .timeout(5)
        return try DatabaseQueue(path: folder + "/flowhub.sqlite", configuration: configuration)
    }

    private static let rowCondition = "place = (SELECT span << 32 | ? FROM data_imports WHERE id = ?)"

    @Test(arguments: ImportLedgerContract.cases + RecordStoreContract.cases)
    func ledgerAndRecordsMeetContract(_ promise: ImportLedgerContract.Case) async throws {
        try await withStore { store, folder in
            var limits = SQLiteImportLedger.Limits()
            // Small, so that a few rows need several batches.
            limits.removedRows = 70
            let ledger = SQLiteImportLedger(store, limits: limits)
            try await promise.run(
                ImportLedgerContract.Subject(
                    ledger: ledger, records: ledger,
                    tamper: { tampering, id in
                        try await Self.file(folder).write { database in
                            switch tampering {
                            case .change(let number, let text):
                                try database.execute(
                                    sql: "UPDATE raw_import_records SET raw_text = ? WHERE \(Self.rowCondition)",
                                    arguments: [text, number, id.rawValue])
                            case .remove(let number):
                                try database.execute(
                                    sql: "DELETE FROM raw_import_records WHERE \(Self.rowCondition)",
                                    arguments: [number, id.rawValue])
                            }
                        }
                    }))
            // All detached rows must be deleted by the end.
            let left = try await Self.file(folder).read { database in
                try Int.fetchOne(
                    database,
                    sql: """
                        SELECT (SELECT count(*) FROM cut_off_records)
                            + (SELECT count(*) FROM raw_import_records WHERE place >> 32 NOT IN (SELECT span FROM data_imports))
                        """)
            }
            #expect(left == 0)
        }
    }

    @Test func maintenanceRemovesRowsDetachedBeforeCrash() async throws {
        try await withStore { store, folder in
            let ledger = SQLiteImportLedger(store)
            let draft = ImportDraft(
                id: .random(), account: "7", flow: nil, fileName: nil, sourceType: nil, provider: "sqlite", location: nil,
                idempotencyKey: nil, createdAt: start)
            _ = try await ledger.begin(draft, claimSeconds: 60)
            #expect(try await ledger.append([.emptyObject, .null], at: 0, to: draft.id, account: "7", claim: 1))
            // The state after a crash between detaching and deleting rows.
            let file = try Self.file(folder)
            try await file.write { database in
                try database.execute(
                    sql: """
                        INSERT INTO cut_off_records SELECT span FROM data_imports;
                        UPDATE data_imports SET span = span + 1;
                        """)
            }
            #expect(try await ledger.digest(of: draft.id).count == 0)
            #expect(try await ledger.append([.null], at: 0, to: draft.id, account: "7", claim: 1))
            #expect(try await ledger.abandoned(limit: 9) == [])
            let left = try await file.read { try Int.fetchOne($0, sql: "SELECT count(*) FROM raw_import_records") }
            #expect(left == 1)
            #expect(try await ledger.records(of: draft.id, offset: 0, limit: 9) == [.null])
        }
    }

    @Test func addsImportTablesToOlderFileAndKeepsFlows() async throws {
        try await withTemporaryFolder { folder in
            let id = try #require(FlowID("a"))
            let before = try openStore(folder)
            _ = try await before.apply(
                FlowChange(flow: id, account: "1", body: .patch(try JSONText(validating: #"{"n":1}"#.utf8)), at: start))
            await before.close()
            try await Self.file(folder).write { database in
                try database.execute(
                    sql: """
                        DROP TRIGGER revocation_added; DROP TRIGGER revocation_removed;
                        DROP TABLE account_usage; DROP TABLE ended_versions;
                        DROP INDEX flows_by_deletion; DROP INDEX revocations_by_time;
                        DROP TABLE data_imports; DROP TABLE raw_import_records; DROP TABLE cut_off_records;
                        DROP INDEX flows_by_end; DROP TABLE hub_tasks;
                        DELETE FROM schema_migrations WHERE version > 1;
                        """)
            }
            let store = try openStore(folder)
            #expect(try await store.load(id)?.version == 1)
            #expect(try await SQLiteImportLedger(store).imports(after: nil, limit: 9) == [])
            await store.close()
        }
    }

    /// A commit of a flow waits for at most one batch of rows, however large the import is.
    @Test(arguments: [false, true])
    func storesNothingIfAccessIsLostDuringUpload(isRows: Bool) async throws {
        struct Lost: Error {}
        try await withStore { store, folder in
            let fixture = try ImportServiceFixture(store, folder, isRows: isRows)
            await #expect(throws: Lost.self) {
                try await fixture.ingest("[1,2]", format: .json) { throw Lost() }
            }
            let page = try await fixture.service.list(ImportQuery(account: "7", limit: 10))
            #expect(page.imports.map(\.status) == [.failed])
            let files = FileManager.default.enumerator(atPath: folder + "/objects")?.compactMap { $0 as? String } ?? []
            #expect(!files.contains { $0.hasSuffix(".gz") }, "\(files)")
        }
    }

    @Test func importDoesNotBlockFlowCommits() async throws {
        try await withStore { store, _ in
            let ledger = SQLiteImportLedger(store)
            let isOver = AsyncValue(false)
            let count = TestScale.pick(20_000, full: 500_000)
            let record = try JSONText(validating: "{\"text\":\"\(String(repeating: "x", count: 400))\"}".utf8)
            let (longest, commits) = try await withThrowingTaskGroup(of: (Duration, Int).self) { group in
                group.addTask {
                    defer { isOver.change { $0 = true } }
                    let draft = ImportDraft(
                        id: .random(), account: "7", flow: nil, fileName: nil, sourceType: nil, provider: "sqlite", location: nil,
                        idempotencyKey: nil, createdAt: start)
                    _ = try await ledger.begin(draft, claimSeconds: 600)
                    for index in stride(from: 0, to: count, by: 1_000) {
                        let records = Array(repeating: record, count: 1_000)
                        #expect(try await ledger.append(records, at: index, to: draft.id, account: "7", claim: 1))
                    }
                    #expect(try await ledger.remove(draft.id, claim: 1))
                    return (.zero, 0)
                }
                group.addTask {
                    var longest = Duration.zero
                    var commits = 0
                    while !isOver.value {
                        let began = ContinuousClock.now
                        _ = try await store.apply(
                            FlowChange(
                                flow: try #require(FlowID("a")), account: "1",
                                body: .patch(try JSONText(validating: "{\"n\":\(commits)}".utf8)), at: start))
                        longest = max(longest, ContinuousClock.now - began)
                        commits += 1
                    }
                    return (longest, commits)
                }
                return try await group.reduce((.zero, 0)) { (max($0.0, $1.0), $0.1 + $1.1) }
            }
            // If commits and batches did not alternate, there would be few commits, and one would wait for the whole
            // import.
            #expect(commits > count / 1_000)
            #expect(longest < .seconds(3))
        }
    }
}
