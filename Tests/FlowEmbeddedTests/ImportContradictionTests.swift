import FlowEmbedded
import FlowObjects
import Foundation
import GRDB
import Testing

@testable import FlowCore

/// Imports whose row in the ledger another program has changed: no object and no import that somebody needs is removed.
@Suite struct ImportContradictionTests {
    /// A negative minimum age, so that everything that the test creates is old enough.
    private static let anyAge: Int64 = -10_000_000_000

    /// Stores an import with 300 records, and an object with 2 records in its folder.
    private static func running(
        _ body: (ImportServiceFixture, _ entry: Import, _ other: String, DatabaseQueue) async throws -> Void
    ) async throws {
        try await withStore { store, folder in
            let fixture = try ImportServiceFixture(store, folder)
            let entry = try await fixture.ingest((0..<300).map { #"{"n":\#($0)}"# }.joined(separator: "\n"), format: .ndjson)
            let other = try #require(entry.location).replacingOccurrences(of: "raw_data", with: "other")
            let upload = try await fixture.objects.upload(other, ObjectAttributes())
            try await upload.write(await fixture.codec.compress(Array("[1,2]".utf8)))
            _ = try await upload.finish()
            try await body(fixture, entry, other, DatabaseQueue(path: folder + "/flowhub.sqlite"))
        }
    }

    private static func problems(_ fixture: ImportServiceFixture, _ id: ImportID) async throws -> [ImportVerifier.Problem] {
        try await ImportVerifier(fixture.service).verify(try #require(try await fixture.ledger.load(id))) { _ in }
    }

    private static func sweep(_ fixture: ImportServiceFixture) async throws -> ImportSweeper.Report {
        try await ImportSweeper(fixture.service).sweep(olderThan: Self.anyAge, isDryRun: false)
    }

    @Test(arguments: [true, false])
    func sweepKeepsObjectOfAnImportWhoseMetadataCannotBeRead(hasIndex: Bool) async throws {
        try await Self.running { fixture, entry, other, database in
            let location = try #require(entry.location)
            try await database.write {
                try $0.execute(
                    sql: """
                        UPDATE data_imports SET storage_location = ?, storage_metadata = '[1]',
                            member_index = CASE WHEN ? THEN member_index END
                        """, arguments: [other, hasIndex])
            }
            let swept = try await Self.sweep(fixture)
            #expect(swept.needed.map(\.key) == [location] && swept.orphans == [])
            #expect(try await Self.problems(fixture, entry.id).contains(.foreignMetadata))
            // What the advice says.
            try await database.write {
                try $0.execute(sql: "UPDATE data_imports SET storage_location = ?", arguments: [location])
            }
            #expect(try await Self.problems(fixture, entry.id) == [.foreignMetadata])
            let found = try #require(try await fixture.ledger.load(entry.id))
            #expect(try await ImportVerifier(fixture.service).repair(found) == .repaired)
            #expect(try await Self.problems(fixture, entry.id) == [])
            let second = try await Self.sweep(fixture)
            #expect(second.needed == [] && second.orphans.map(\.key) == [other])
        }
    }

    @Test func repairIsRefusedWhileAnObjectWithMoreRecordsIsKnown() async throws {
        try await Self.running { fixture, entry, other, database in
            let location = try #require(entry.location)
            try await database.write {
                try $0.execute(
                    sql: "UPDATE data_imports SET storage_location = ?, storage_metadata = ?, total_records = 2",
                    arguments: [
                        other,
                        #"{"storage_location":"\#(other)","bucket":"b","size_bytes":25,"original_size_bytes":5,"record_count":2}"#,
                    ])
            }
            #expect(
                try await Self.problems(fixture, entry.id).contains(.fewerThanStored(expected: 300, found: 2)))
            let found = try #require(try await fixture.ledger.load(entry.id))
            let refused = await #expect(throws: ImportError.self) { try await ImportVerifier(fixture.service).repair(found) }
            #expect(refused?.unreadable?.contains("2 records instead of the 300") == true)
            #expect(try await fixture.ledger.index(of: entry.id)?.recordCount == 300)
            let swept = try await Self.sweep(fixture)
            #expect(swept.needed.map(\.key) == [location] && swept.orphans == [])
        }
    }

    @Test func deletionKeepsObjectsThatAnotherImportRefersTo() async throws {
        try await withStore { store, folder in
            let fixture = try ImportServiceFixture(store, folder)
            let database = try DatabaseQueue(path: folder + "/flowhub.sqlite")
            let first = try await fixture.ingest("[1]", format: .json)
            let second = try await fixture.ingest("[2]", format: .json)
            let third = try await fixture.ingest("[3]", format: .json)
            // The location of the second is the first's object, and that of the first is the third's.
            for (entry, other) in [(second, first), (first, third)] {
                try await database.write {
                    try $0.execute(
                        sql: "UPDATE data_imports SET storage_location = ? WHERE id = ?",
                        arguments: [other.location, entry.id.rawValue])
                }
            }
            // The third's object is in its own folder, and the first needs it.
            try await fixture.service.delete(third.id, account: "7")
            let shared = try #require(third.location)
            #expect(try await fixture.objects.head(shared) != nil)
            // Nobody else needs it.
            try await fixture.service.delete(first.id, account: "7")
            #expect(try await fixture.objects.head(shared) == nil)
            let last = try #require(first.location)
            #expect(try await fixture.objects.head(last) != nil)
            try await fixture.service.delete(second.id, account: "7")
            #expect(try await fixture.objects.head(last) == nil)
        }
    }

    @Test func retentionKeepsFailedImportThatAnotherProgramHasStored() async throws {
        try await withStore { store, folder in
            let database = try DatabaseQueue(path: folder + "/flowhub.sqlite")
            let fixture = try ImportServiceFixture(
                store, folder,
                maintenance: { ledger in
                    InterceptedMaintenance(ledger: ledger) {
                        _ = try? await database.write { try $0.execute(sql: "UPDATE data_imports SET status = 'stored'") }
                    }
                })
            await #expect(throws: ImportError.self) { try await fixture.ingest("[1", format: .json) }
            let failed = try #require(try await fixture.ledger.imports(after: nil, limit: 9).first)
            #expect(failed.status == .failed)
            let after = Timestamp(milliseconds: 32_503_680_000_000)
            let outcome = try await fixture.service.deleteFailed(before: after, limit: 9)
            #expect(outcome.deleted == 0 && outcome.failures == 0)
            #expect(try await fixture.ledger.load(failed.id)?.status == .stored)
        }
    }
}

/// The queries of a ledger. After that for failed imports, runs a closure.
private struct InterceptedMaintenance: ImportMaintenance {
    let ledger: SQLiteImportLedger
    let afterFailed: @Sendable () async -> Void

    func failed(before moment: Timestamp, limit: Int) async throws(StoreError) -> [Import] {
        let found = try await self.ledger.failed(before: moment, limit: limit)
        await self.afterFailed()
        return found
    }

    func imports(after: ImportID?, limit: Int) async throws(StoreError) -> [Import] {
        try await self.ledger.imports(after: after, limit: limit)
    }

    func abandoned(limit: Int) async throws(StoreError) -> [Import] { try await self.ledger.abandoned(limit: limit) }
    func unannounced(limit: Int) async throws(StoreError) -> [Import] { try await self.ledger.unannounced(limit: limit) }
    func markAnnounced(_ id: ImportID) async throws(StoreError) { try await self.ledger.markAnnounced(id) }
    func encryptions() async throws(StoreError) -> [ImportEncryption] { try await self.ledger.encryptions() }

    func isReferenced(_ key: String, besides id: ImportID?) async throws(StoreError) -> Bool {
        try await self.ledger.isReferenced(key, besides: id)
    }
}
