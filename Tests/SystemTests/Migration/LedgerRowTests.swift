import FlowCore
import FlowTestKit
import Testing

extension ImportSystemTests {
    /// Rows of the import ledger that another program has changed: they are read by what is really there.
    @Suite struct LedgerRowTests {
        private static func lines(_ output: String, of id: String) -> String {
            output.split(separator: "\n").filter { $0.hasPrefix(id) }.joined(separator: "\n")
        }

        /// Imports by name, each with a contradiction.
        private struct Imports: Sendable {
            var entries: [String: StoredImport] = [:]
            subscript(_ name: String) -> String { self.entries[name]?.id ?? "" }
        }

        /// Stores imports and lets another program change their rows.
        private static func contradicting(_ cluster: ImportClusterFixture, _ text: String) async throws -> Imports {
            var imports = Imports()
            for name in [
                "sound", "provider", "unknown", "rows", "missing", "key", "store", "status", "pending", "index", "metadata",
            ] {
                imports.entries[name] = try await cluster.hub.store(TestUpload(text))
            }
            #expect(try await cluster.hub.command(["imports", "move", "--to", "postgres", imports["rows"]]).exit == .code(0))
            func set(_ assignments: String, _ name: String) async throws {
                try await cluster.query("UPDATE data_imports SET \(assignments) WHERE id = '\(imports[name])'")
            }
            try await set("storage_provider = 'postgres'", "provider")
            try await set("storage_provider = 'gcs'", "unknown")
            try await set("storage_provider = 'r2', storage_location = 'imports/0/2024/01/01/x/raw_data.json.gz'", "rows")
            try await cluster.overwrite(#require(imports.entries["missing"]?.location), nil)
            try await set("storage_location = 's3://bucket/imports/a b.json.gz'", "key")
            try await set("storage_provider = 'folder'", "store")
            try await set("status = 'completed'", "status")
            try await set("status = 'pending'", "pending")
            try await set("member_index = '{}'", "index")
            try await set("storage_metadata = '[9223372036854775807]'", "metadata")
            return imports
        }

        @Test func contradictingRowsAreReadByWhatIsThereNamedAndRepaired() async throws {
            try await ImportClusterFixture.running(.r2, ["FLOWHUB_IMPORT_CLAIM_SECONDS": "4"]) { cluster in
                let hub = cluster.hub
                let records = ImportOracle.records(40)
                let document = ImportOracle.document(records)
                let imports = try await Self.contradicting(cluster, records.joined(separator: "\n"))
                let readable = ["sound", "provider", "unknown", "rows", "status", "pending", "index", "metadata"]
                func expectReadable() async throws {
                    for name in readable {
                        let reply = try await hub.get(imports[name], "/data")
                        #expect(reply.status == 200 && reply.body == document, "\(name): \(reply.text.prefix(300))")
                        #expect(try await hub.records(imports[name], from: 38) == Array(records[38...]), "\(name)")
                        #expect(try await hub.get(imports[name]).json.member("status")?.stringValue == "stored", "\(name)")
                    }
                }

                // The sweep names what it cannot look up, and neither it nor the hub's own maintenance removes stored imports.
                let swept = try await hub.command(["imports", "sweep"])
                #expect(swept.exit == .code(1) && swept.errors.contains("0 interrupted imports cleaned up"), "\(swept)")
                for name in ["missing", "key"] {
                    #expect(Self.lines(swept.output, of: imports[name]).contains("is missing"), "\(swept)")
                }
                #expect(Self.lines(swept.output, of: imports["store"]).contains("could not be looked up"), "\(swept)")
                try await expectReadable()

                let verified = try await hub.command(["imports", "verify", "--repair"])
                #expect(verified.exit == .code(1), "\(verified)")
                #expect(
                    verified.errors.contains("11 imports read, 3 of them damaged. The ledger was corrected for 4."), "\(verified)"
                )
                for (name, text) in [
                    ("provider", "(storage_provider) is postgres"), ("unknown", "(storage_provider) is gcs"),
                    ("rows", "the rows are complete"), ("missing", "Restore it from a backup under its key"),
                    ("key", "is no key of an object"), ("store", "in the store folder, which is not configured here"),
                    ("metadata", "is of another object"),
                ] {
                    #expect(Self.lines(verified.output, of: imports[name]).contains(text), "\(name): \(verified)")
                }
                for name in ["provider", "unknown", "rows", "metadata"] {
                    #expect(Self.lines(verified.output, of: imports[name]).contains("the ledger was corrected"), "\(verified)")
                }
                for name in ["sound", "status", "pending", "index"] { #expect(!verified.output.contains(imports[name])) }
                let repaired = try await cluster.query(
                    """
                    SELECT storage_provider || ' ' || (storage_location IS NULL) || ' ' || (storage_metadata ->> 'record_count')
                    FROM data_imports WHERE id IN ('\(imports["provider"])', '\(imports["unknown"])', '\(imports["rows"])',
                        '\(imports["metadata"])') ORDER BY 1
                    """)
                #expect(repaired == "postgres true 40\nr2 false 40\nr2 false 40\nr2 false 40")
                let again = try await hub.command(["imports", "verify", "--repair"])
                #expect(again.errors.contains("11 imports read, 3 of them damaged. The ledger was corrected for 0."), "\(again)")

                // A move goes on with the rest.
                let dry = try await hub.command(["imports", "move", "--to", "postgres", "--dry-run"])
                #expect(dry.exit == .code(1) && dry.errors.contains("7 imports with 280 records would be moved."), "\(dry)")
                let moved = try await hub.command(["imports", "move", "--to", "postgres"])
                #expect(moved.exit == .code(1) && moved.errors.contains("7 imports with 280 records moved."), "\(moved)")
                #expect(moved.errors.contains("3 imports could not be moved. They are unchanged."), "\(moved)")
                for name in ["missing", "key", "store"] { #expect(moved.errors.contains(imports[name]), "\(moved)") }
                try await expectReadable()
                #expect(try await hub.call("DELETE", "/v1/imports/\(imports["key"])").status == 204)
                #expect(try await hub.get(imports["key"]).status == 404)
            }
        }

        @Test func oneUnreadableRecordDoesNotStopTheOthers() async throws {
            try await ImportClusterFixture.running(.r2, ["R2_ENABLED": "false"]) { cluster in
                let bad = try await cluster.hub.store(TestUpload("[1,2]"))
                let good = try await cluster.hub.store(TestUpload("[3]"))
                // A number that the hub cannot read.
                try await cluster.query(
                    """
                    UPDATE raw_import_records SET raw_text = NULL, raw_data = ('1' || repeat('0', 400))::jsonb
                    WHERE data_import_id = '\(bad.id)' AND record_index = 1
                    """)
                let verified = try await cluster.hub.command(["imports", "verify"])
                #expect(
                    verified.exit == .code(1) && verified.errors.contains("2 imports read, 1 of them damaged."), "\(verified)")
                #expect(Self.lines(verified.output, of: bad.id).contains("cannot be read"), "\(verified)")
                let moved = try await cluster.hub.command(["imports", "move", "--to", "r2"], adding: ["R2_ENABLED": "true"])
                #expect(moved.exit == .code(1) && moved.errors.contains("1 imports with 1 records moved."), "\(moved)")
                #expect(moved.errors.contains("import \(bad.id) was not moved and is unchanged"), "\(moved)")
                #expect(try await cluster.hub.get(good.id, "/data").text == "[\n3\n]\n")
            }
        }

        /// Another program has lost the location, as a downgrade of the legacy service's schema does.
        @Test func sweepKeepsObjectThatItsImportMayNeed() async throws {
            try await ImportClusterFixture.running(.r2) { cluster in
                let records = ImportOracle.records(30)
                let entry = try await cluster.hub.store(TestUpload(records.joined(separator: "\n")))
                let key = try #require(entry.location)
                try await cluster.query("UPDATE data_imports SET storage_location = NULL, storage_metadata = NULL")
                try await eventually("the object to be old enough for the sweep") {
                    try await cluster.hub.command(["imports", "sweep", "--older-than", "0s", "--dry-run"]).output
                        .contains("\(key)  stays: its import may need it")
                }
                let swept = try await cluster.hub.command(["imports", "sweep", "--older-than", "0s"])
                #expect(swept.exit == .code(0) && swept.errors.contains(" 0 objects and 0 uploads removed"), "\(swept)")
                #expect(try await cluster.keys() == [key])
                let verified = try await cluster.hub.command(["imports", "verify"])
                #expect(
                    verified.exit == .code(1) && verified.output.contains("only 10 sample rows of the 30 records"), "\(verified)")
                // A move of the sample rows alone would hide that the others are missing.
                let moved = try await cluster.hub.command(["imports", "move", "--to", "r2"])
                #expect(moved.exit == .code(1) && moved.errors.contains("10 rows instead of the 30 records"), "\(moved)")

                try await cluster.query("UPDATE data_imports SET storage_location = '\(key)'")
                #expect(try await cluster.hub.get(entry.id, "/data").body == ImportOracle.document(records))
                #expect(try await cluster.hub.command(["imports", "verify", "--repair"]).exit == .code(0))
                #expect(try await cluster.hub.command(["imports", "verify"]).output.isEmpty)
            }
        }
    }
}
