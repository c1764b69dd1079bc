import FlowCore
import FlowTestKit
import Foundation
import Testing

extension ImportSystemTests {
    /// What the legacy service's readers find in objects and rows of the hub, and the hub in those of the service.
    @Suite struct LegacyReaderTests {
        private static func names(_ json: JSONText?) -> Set<String> { Set(json?.members.map(\.key) ?? []) }

        @Test func legacyServiceReadsObjectsMetadataAndRowsOfHub() async throws {
            try await LegacyImportFixture.running(["FLOWHUB_R2_PART_BYTES": "5242880"]) { fixture in
                let records = LegacyImportFixture.records(0..<3_000)
                let query = "flow_id=f1&file_name=a%20b.json&source_type=cmdb"
                let entry = try await fixture.hub.store(TestUpload(records.joined(separator: "\n"), query))
                try await fixture.expect(records, of: entry.id)
                let location = try #require(entry.location)
                let record = try await fixture.service.call("imports.read_record", #"{"import_id":"\#(entry.id)"}"#)
                let stored = record.member("storage_metadata")
                #expect(record.member("storage_location")?.stringValue == location)
                #expect(stored?.member("storage_location")?.stringValue == location)
                #expect(record.member("storage_provider")?.stringValue == "r2")
                #expect(record.member("client_account_id")?.intValue == 0)
                #expect(record.member("discovery_flow_id")?.stringValue == "f1")
                #expect(record.member("total_records")?.intValue == 3_000)
                #expect(record.member("field_summary")?.isObject == true)
                // All that the service's own `storage_metadata` has.
                #expect(
                    Self.names(stored).isSuperset(of: [
                        "storage_location", "bucket", "size_bytes", "original_size_bytes", "compression_ratio", "record_count",
                        "data_hash", "storage_class",
                    ]))
                let object = try await fixture.service.call(
                    "storage.get_import_metadata", #"{"storage_location":"\#(location)"}"#)
                var metadata: [String: String] = [:]
                for (name, value) in object.member("metadata")?.members ?? [] { metadata[name] = value.stringValue }
                metadata["flowhub-upload"] = nil
                #expect(
                    metadata == [
                        "import_id": entry.id, "client_account_id": "0", "record_count": "3000",
                        "original_size": "\(entry.number("original_size_bytes") ?? 0)",
                        "compressed_size": "\(entry.number("size_bytes") ?? 0)", "data_hash": entry.dataHash ?? "",
                        "source_type": "cmdb", "file_name": "a b.json", "discovery_flow_id": "f1",
                    ])
                let sizes = try await fixture.service.call(
                    "storage.stream_sizes", #"{"storage_location":"\#(location)","chunk_size":1000}"#)
                #expect(sizes.string.filter { $0 != " " } == "[1000,1000,1000]")
                let samples = try await fixture.service.call("imports.read_samples", #"{"import_id":"\#(entry.id)"}"#)
                #expect(samples.elements.map { $0.elements.first?.intValue } == (0..<10).map { Int64($0) })

                try await Self.expectEarlyMetadata(fixture)

                // As rows, which the service reads in the order of their times, and moved back.
                #expect(try await fixture.imports("move", "--to", "postgres", entry.id).exit == .code(0))
                try await fixture.expect(records, of: entry.id)
                let rows = try await fixture.service.call("imports.read_record", #"{"import_id":"\#(entry.id)"}"#)
                #expect(rows.member("storage_location")?.isNull == true)
                #expect(rows.member("storage_metadata")?.member("storage_location")?.isNull == true)
                #expect(rows.member("storage_provider")?.stringValue == "postgres")
                #expect(try await fixture.imports("move", "--to", "r2").exit == .code(0))
                try await fixture.expect(records, of: entry.id)
            }
        }

        /// An object that is uploaded in parts gets its metadata before the first part.
        private static func expectEarlyMetadata(_ fixture: LegacyImportFixture) async throws {
            var random = SeededRandom(seed: 8)
            let records = (0..<100).map { _ in
                let words = (0..<9_000).map { _ in random.next() }
                return "\"\(words.withUnsafeBytes { Data($0) }.base64EncodedString())\""
            }
            let upload = TestUpload("[" + records.joined(separator: ",") + "]", "file_name=%C3%A9.json")
            let entry = try await fixture.hub.store(upload)
            #expect(try #require(entry.number("size_bytes")) > 5_242_880)
            // The test's S3 server changes the names when it completes the upload, so the request is compared.
            let sent = try #require(try fixture.cluster.proxy.requests(.createUpload).last)
            func metadata(_ name: String) -> String? { sent.header("x-amz-meta-\(name)") }
            #expect(metadata("import_id") == entry.id && metadata("client_account_id") == "0")
            #expect(metadata("file_name") == "=?UTF-8?Q?=C3=A9.json?=")
            for name in ["record_count", "original_size", "compressed_size", "data_hash"] { #expect(metadata(name) == nil) }
        }

        @Test func hubReadsVerifiesAndMovesImportsOfLegacyHandler() async throws {
            try await LegacyImportFixture.running { fixture in
                let records = LegacyImportFixture.records(0..<25)
                let stored = try await fixture.service.call(
                    "imports.store_import_data", #"{"parsed_data":[\#(records.joined(separator: ","))]}"#)
                let id = try #require(stored.stringValue)
                try await fixture.expect(records, of: id)
                #expect(try await fixture.hub.get(id, "/sample").json.member("records")?.elements.count == 25)
                #expect(try await fixture.imports("verify").output.isEmpty)
                // The service's own processing sets a status. It is not the hub's, before and after the hub has moved the import.
                for _ in 0..<2 {
                    for status in ["processed", "failed", "pending"] {
                        try await fixture.service.call(
                            "imports.set_status", #"{"import_id":"\#(id)","status":"\#(status)"}"#)
                        #expect(try await fixture.hub.get(id).json.member("status")?.stringValue == "stored", "\(status)")
                    }
                    #expect(try await fixture.imports("sweep").errors.contains("0 interrupted imports cleaned up"))
                    #expect(try await fixture.imports("move", "--to", "postgres").exit == .code(0))
                    try await fixture.expect(records, of: id)
                }
            }
        }

        @Test func dryRunCountsWhatWouldBeMoved() async throws {
            try await LegacyImportFixture.running { fixture in
                let records = LegacyImportFixture.records(0..<25)
                // The service has not counted the rows of the first, and has counted those of the second wrongly.
                let ids = [try await fixture.storeRows(records), try await fixture.storeRows(Array(records[..<15]))]
                try await fixture.cluster.query("UPDATE data_imports SET total_records = 12 WHERE id = '\(ids[1])'")
                for target in ["r2", "postgres"] {
                    let dry = try await fixture.imports("move", "--to", target, "--dry-run")
                    #expect(dry.exit == .code(0) && dry.errors.contains("2 imports with 40 records would be moved."), "\(dry)")
                    #expect(
                        dry.output.contains("\(ids[0])  25 records") && dry.output.contains("\(ids[1])  15 records"), "\(dry)")
                    let moved = try await fixture.imports("move", "--to", target)
                    #expect(moved.errors.contains("2 imports with 40 records moved."), "\(moved)")
                }
                // An object of the service, of which the ledger has no numbers.
                #expect(try await fixture.runScript() == [2, 2])
                try await fixture.cluster.query("UPDATE data_imports SET storage_metadata = NULL, total_records = NULL")
                let dry = try await fixture.imports("move", "--to", "postgres", "--dry-run")
                #expect(dry.exit == .code(0) && dry.errors.contains("2 imports with 40 records would be moved."), "\(dry)")
                try await fixture.cluster.overwrite(fixture.location(of: ids[0]), nil)
                let less = try await fixture.imports("move", "--to", "postgres", "--dry-run")
                #expect(less.exit == .code(1) && less.errors.contains("1 imports with 15 records would be moved."), "\(less)")
                #expect(less.errors.contains("import \(ids[0]) would not be moved"), "\(less)")
            }
        }
    }
}
