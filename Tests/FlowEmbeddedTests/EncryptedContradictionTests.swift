import FlowCore
import FlowEmbedded
import FlowObjects
import Foundation
import GRDB
import Testing

/// Encrypted imports whose row in the ledger another program has changed.
@Suite struct EncryptedContradictionTests {
    private static let key = Array("a AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=".utf8)
    /// A negative minimum age, so that everything that the test creates is old enough.
    private static let anyAge: Int64 = -10_000_000_000

    /// Stores an encrypted import with this number of records.
    private static func running(
        records: Int = 300, objectShare: Int = 100, _ body: (ImportServiceFixture, Import, DatabaseQueue) async throws -> Void
    ) async throws {
        try await withStore { store, folder in
            var configuration = ImportConfiguration()
            configuration.memberBytes = 2_000
            configuration.objectShare = objectShare
            let fixture = try ImportServiceFixture(store, folder, keys: try ImportKeySet(Self.key), configuration)
            let text = (0..<records).map { #"{"n":\#($0),"text":"secret \#($0)"}"# }.joined(separator: "\n")
            let entry = try await fixture.ingest(text, format: .ndjson)
            #expect(entry.encryption?.key == "a" && (entry.location == nil) == (objectShare == 0))
            try await body(fixture, entry, DatabaseQueue(path: folder + "/flowhub.sqlite"))
        }
    }

    /// Changes the row of the only import.
    private static func change(
        _ database: DatabaseQueue, _ assignments: String, _ arguments: StatementArguments = []
    ) async throws {
        try await database.write {
            try $0.execute(sql: "UPDATE data_imports SET \(assignments)", arguments: arguments)
        }
    }

    /// Verifies the import as it is in the ledger now.
    private static func problems(_ fixture: ImportServiceFixture, _ id: ImportID) async throws -> [ImportVerifier.Problem] {
        try await ImportVerifier(fixture.service).verify(try #require(try await fixture.ledger.load(id))) { _ in }
    }

    /// Expects that all records can be read, that nothing is wrong, and that the import is encrypted as before.
    private static func expectWhole(_ fixture: ImportServiceFixture, _ entry: Import) async throws {
        let (document, _) = try await fixture.service.document(entry.id, account: "7")
        var bytes: [UInt8] = []
        while let chunk = try await document.next() { bytes += chunk }
        #expect(bytes.count { $0 == UInt8(ascii: "\n") } - 2 == entry.totalRecords)
        let page = try await fixture.service.records(entry.id, account: "7", offset: 2, limit: 1).records
        #expect(page.first?.string == #"{"n":2,"text":"secret 2"}"#)
        #expect(try await Self.problems(fixture, entry.id) == [])
        let now = try #require(try await fixture.ledger.load(entry.id))
        #expect(now.encryption == entry.encryption && now.location == entry.location)
        #expect(now.storage?.contentHash == entry.storage?.contentHash && now.storage?.dataHash == entry.storage?.dataHash)
    }

    /// The metadata that another program writes for an object of its own.
    private static func metadata(_ location: String) -> String {
        #"{"storage_location":"\#(location)","bucket":"b","size_bytes":9,"original_size_bytes":9,"record_count":2,"data_hash":"0"}"#
    }

    private static func repair(_ fixture: ImportServiceFixture, _ id: ImportID) async throws -> ImportVerifier.RepairOutcome {
        try await ImportVerifier(fixture.service).repair(try #require(try await fixture.ledger.load(id)))
    }

    @Test func foreignMetadataLeavesTheEncryptedObjectReadable() async throws {
        try await Self.running { fixture, entry, database in
            try await Self.change(database, "storage_metadata = ?", [Self.metadata("elsewhere")])
            let page = try await fixture.service.records(entry.id, account: "7", offset: 299, limit: 9).records
            #expect(page.map(\.string) == [#"{"n":299,"text":"secret 299"}"#])
            #expect(try await Self.problems(fixture, entry.id) == [.foreignMetadata])
            #expect(try await Self.repair(fixture, entry.id) == .repaired)
            try await Self.expectWhole(fixture, entry)
        }
    }

    @Test func sweepKeepsTheEncryptedObjectOfAnImportWithAnotherLocation() async throws {
        try await Self.running { fixture, entry, database in
            let location = try #require(entry.location)
            let other = location.replacingOccurrences(of: "raw_data", with: "other")
            let upload = try await fixture.objects.upload(other, ObjectAttributes())
            try await upload.write(await fixture.codec.compress(Array("[1,2]".utf8)))
            _ = try await upload.finish()
            try await Self.change(database, "storage_location = ?, storage_metadata = ?", [other, Self.metadata(other)])
            #expect(try await Self.problems(fixture, entry.id).contains(.encryptedElsewhere))
            await #expect(throws: ImportError.self) { try await fixture.service.document(entry.id, account: "7").0.next() }
            let report = try await ImportSweeper(fixture.service).sweep(olderThan: Self.anyAge, isDryRun: false)
            #expect(report.needed.map(\.key) == [location] && report.orphans == [])
            // What the advice says.
            try await Self.change(database, "storage_location = ?", [location])
            #expect(try await Self.problems(fixture, entry.id) == [.foreignMetadata])
            #expect(try await Self.repair(fixture, entry.id) == .repaired)
            try await Self.expectWhole(fixture, entry)
            let second = try await ImportSweeper(fixture.service).sweep(olderThan: Self.anyAge, isDryRun: false)
            #expect(second.needed == [] && second.orphans.map(\.key) == [other])
        }
    }

    @Test func sampleRowsAreNotTakenForTheRecords() async throws {
        try await Self.running(records: 3) { fixture, entry, database in
            let location = try #require(entry.location)
            try await Self.change(database, "storage_location = NULL")
            #expect(try await Self.problems(fixture, entry.id).contains(.encryptedElsewhere))
            let report = try await ImportSweeper(fixture.service).sweep(olderThan: Self.anyAge, isDryRun: false)
            #expect(report.needed.map(\.key) == [location] && report.orphans == [])
            try await Self.change(database, "storage_location = ?", [location])
            try await Self.expectWhole(fixture, entry)
            try await fixture.objects.delete(location)
            #expect(try await Self.problems(fixture, entry.id) == [.objectMissing])
        }
    }

    @Test func encryptedRowsAreReadInPlaceOfAMissingObject() async throws {
        try await Self.running(objectShare: 0) { fixture, entry, database in
            try await Self.change(database, "storage_location = 'imports/nowhere', storage_provider = 'folder'")
            let page = try await fixture.service.records(entry.id, account: "7", offset: 299, limit: 9).records
            #expect(page.map(\.string) == [#"{"n":299,"text":"secret 299"}"#])
            #expect(try await Self.problems(fixture, entry.id) == [.rowsInPlaceOfObject])
            #expect(try await Self.repair(fixture, entry.id) == .repaired)
            try await Self.expectWhole(fixture, entry)
        }
    }
}
