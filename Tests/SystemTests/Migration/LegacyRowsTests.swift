import FlowTestKit
import Testing

extension ImportSystemTests {
    /// Rows that the legacy service adds to an import whose records are in an object.
    @Suite struct LegacyRowsTests {
        @Test func moveToRowsReplacesNoRowOfTheService() async throws {
            try await LegacyImportFixture.running { fixture in
                let records = LegacyImportFixture.records(0..<28)
                let entry = try await fixture.hub.store(TestUpload(records[..<25].joined(separator: "\n")))
                let added = "[\(records[25...].joined(separator: ","))]"
                // In places of the object's records.
                try await fixture.service.call(
                    "imports.add_rows", #"{"import_id":"\#(entry.id)","records":\#(added),"first_index":12}"#)
                let isAdded = "raw_text IS NULL AND is_sample IS NOT TRUE"
                func expectUnchanged() async throws {
                    let rows = try await fixture.cluster.query(
                        "SELECT count(*), count(*) FILTER (WHERE \(isAdded)) FROM raw_import_records")
                    #expect(rows == "13|3")
                    #expect(try await fixture.location(of: entry.id) == entry.location)
                    try await fixture.expect(Array(records[..<25]), of: entry.id)
                }
                let numbered = try await fixture.imports("move", "--to", "postgres")
                #expect(
                    numbered.exit == .code(1) && numbered.errors.contains("3 rows of the import besides its object that another"),
                    "\(numbered)")
                try await expectUnchanged()
                // What the message says: the rows follow the object's records.
                try await fixture.cluster.query("UPDATE raw_import_records SET record_index = NULL WHERE \(isAdded)")
                // Behind encrypted rows they could not be read.
                let encrypted = try await ImportKeyFixture.running([ImportKeyFixture.line("new")]) { keys in
                    try await fixture.hub.command(["imports", "move", "--to", "postgres"], adding: keys.environment)
                }
                #expect(encrypted.exit == .code(1) && encrypted.errors.contains("which are not encrypted"), "\(encrypted)")
                try await expectUnchanged()
                let moved = try await fixture.imports("move", "--to", "postgres")
                #expect(moved.exit == .code(0) && moved.errors.contains("1 imports with 25 records moved."), "\(moved)")
                #expect(try await fixture.hub.records(entry.id, from: 0, limit: 100) == records)
            }
        }
    }
}
