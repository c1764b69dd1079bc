import FlowCore
import FlowTestKit
import Testing

extension ImportSystemTests {
    /// The legacy service's migrate script before, after, between and during the moves of the hub. Nothing is lost, and both
    /// sides read every import afterwards.
    @Suite struct LegacyScriptTests {
        @Test func scriptRunsBeforeAfterAndBetweenMoves() async throws {
            try await LegacyImportFixture.running { fixture in
                let records = LegacyImportFixture.records(0..<25)
                let id = try await fixture.storeRows(records)
                try await fixture.expect(records, of: id)
                // Before the hub's move.
                #expect(try await fixture.runScript() == [1, 1])
                try await fixture.expect(records, of: id)
                #expect(try await fixture.imports("verify").output.isEmpty)
                #expect(try await fixture.imports("move", "--to", "postgres").errors.contains("1 imports with 25 records moved."))
                try await fixture.expect(records, of: id)
                // Between two moves: the import is one that the hub has in its hands.
                #expect(try await fixture.runScript() == [1, 1])
                #expect(try await fixture.cluster.rowCount() == 10)
                try await fixture.expect(records, of: id)
                let verified = try await fixture.imports("verify")
                #expect(verified.exit == .code(0) && verified.output.contains("(storage_provider) is postgres"), "\(verified)")
                #expect(try await fixture.imports("verify", "--repair").exit == .code(0))
                #expect(try await fixture.imports("verify").output.isEmpty)
                #expect(try await fixture.imports("move", "--to", "postgres").errors.contains("1 imports with 25 records moved."))
                #expect(try await fixture.imports("move", "--to", "r2").errors.contains("1 imports with 25 records moved."))
                // After the hub's move: there is nothing to do.
                #expect(try await fixture.runScript() == [0, 0])
                try await fixture.expect(records, of: id)
                // New imports of a hub that stores rows are the script's too.
                let own = try await fixture.hub.store(TestUpload(records.joined(separator: "\n")))
                #expect(try await fixture.imports("move", "--to", "postgres", own.id).exit == .code(0))
                #expect(try await fixture.runScript() == [1, 1])
                try await fixture.expect(records, of: own.id)
                #expect(try await fixture.imports("move", "--to", "postgres").errors.contains("2 imports with 50 records moved."))
                try await fixture.expect(records, of: own.id)
                #expect(try await fixture.cluster.keys().isEmpty)
            }
        }

        @Test func scriptAndMoveThatRunAtTheSameTimeLoseNothing() async throws {
            try await LegacyImportFixture.running { fixture in
                try await Self.runScriptDuringMove(fixture)
                for step in ["store", "commit"] { try await Self.moveDuringScript(fixture, before: step) }
                try await Self.addRowBetweenScriptAndMove(fixture)
            }
        }

        /// Moves the import to rows and deletes it, so that the next import is the only one.
        private static func finish(_ fixture: LegacyImportFixture, _ id: String, _ records: [String]) async throws {
            let moved = try await fixture.imports("move", "--to", "postgres")
            #expect(moved.errors.contains("1 imports with \(records.count) records moved."), "\(moved)")
            try await fixture.expect(records, of: id)
            #expect(try await fixture.hub.call("DELETE", "/v1/imports/\(id)").status == 204)
        }

        /// The hub has copied the rows and is about to read its copy back.
        private static func runScriptDuringMove(_ fixture: LegacyImportFixture) async throws {
            let records = LegacyImportFixture.records(0..<25)
            let id = try await fixture.storeRows(records)
            let proxy = try fixture.cluster.proxy
            proxy.inject(.stall(isApplied: false), on: .getObject)
            let mover = try fixture.hub.startCommand(["imports", "move", "--to", "r2"])
            do {
                try await proxy.wait(for: "the copy to be read back") { $0.contains { $0.operation == .getObject } }
                #expect(try await fixture.runScript() == [1, 1])
                proxy.release()
                #expect(try await mover.waitForExit(within: .seconds(60)) == .code(0), "\(mover.errorOutput)")
            } catch {
                await mover.destroy()
                throw error
            }
            try await fixture.expect(records, of: id)
            #expect(try await fixture.cluster.keys() == [fixture.location(of: id)])
            #expect(try await fixture.imports("verify", "--repair").exit == .code(0))
            try await Self.finish(fixture, id, records)
        }

        /// The script has read the rows, and the hub moves them before the script writes.
        private static func moveDuringScript(_ fixture: LegacyImportFixture, before step: String) async throws {
            let records = LegacyImportFixture.records(0..<25)
            let id = try await fixture.storeRows(records)
            let arguments = #"{"import_id":"\#(id)","step":"\#(step)"}"#
            #expect(try await fixture.service.call("migrate_to_r2.stop_before", arguments).boolValue == true)
            let moved = try await fixture.imports("move", "--to", "r2")
            #expect(moved.errors.contains("1 imports with 25 records moved."), "\(moved)")
            try await fixture.expect(records, of: id)
            #expect(try await fixture.service.call("migrate_to_r2.go_on", #"{"import_id":"\#(id)"}"#).boolValue == true)
            // The script's object is the import's now; the hub's index and hashes are of another object.
            #expect(try await fixture.location(of: id).hasSuffix("/raw_data.json.gz"))
            try await fixture.expect(records, of: id)
            let verified = try await fixture.imports("verify", "--repair")
            #expect(verified.exit == .code(0) && verified.output.contains("is of another object"), "\(verified)")
            #expect(try await fixture.imports("verify").output.isEmpty)
            try await Self.finish(fixture, id, records)
        }

        /// The service has added a row that the script has not read and the hub has moved.
        private static func addRowBetweenScriptAndMove(_ fixture: LegacyImportFixture) async throws {
            let records = LegacyImportFixture.records(0..<26)
            let id = try await fixture.storeRows(Array(records[..<25]))
            let arguments = #"{"import_id":"\#(id)","step":"store"}"#
            #expect(try await fixture.service.call("migrate_to_r2.stop_before", arguments).boolValue == true)
            try await fixture.service.call("imports.add_rows", #"{"import_id":"\#(id)","records":[\#(records[25])]}"#)
            #expect(try await fixture.imports("move", "--to", "r2").errors.contains("1 imports with 26 records moved."))
            let key = try await fixture.location(of: id)
            #expect(try await fixture.service.call("migrate_to_r2.go_on", #"{"import_id":"\#(id)"}"#).boolValue == true)
            try await fixture.expect(Array(records[..<25]), of: id)
            let verified = try await fixture.imports("verify", "--repair")
            #expect(verified.exit == .code(1) && verified.output.contains("25 records instead of the 26"), "\(verified)")
            let moved = try await fixture.imports("move", "--to", "postgres")
            #expect(moved.exit == .code(1) && moved.errors.contains("25 records instead of the 26"), "\(moved)")
            try await eventually("the object to be old enough for the sweep") {
                try await fixture.imports("sweep", "--older-than", "0s", "--dry-run").output
                    .contains("\(key)  stays: its import may need it")
            }
            #expect(try await fixture.imports("sweep", "--older-than", "0s").exit == .code(0))
            try await fixture.cluster.query("UPDATE data_imports SET storage_location = '\(key)'")
            #expect(try await fixture.imports("verify", "--repair").exit == .code(0))
            try await fixture.expect(records, of: id)
            #expect(try await fixture.imports("verify").output.isEmpty)
        }

        /// The script copies encrypted rows as they are. The hub says that it cannot read the copy, goes on with the other imports,
        /// and reads the records again when they are back in rows.
        @Test func scriptOverEncryptedRowsLosesNothing() async throws {
            try await ImportKeyFixture.running([ImportKeyFixture.line("new")]) { keys in
                try await LegacyImportFixture.running(keys.environment) { fixture in
                    let records = LegacyImportFixture.records(0..<25)
                    let other = try await fixture.hub.store(TestUpload(records.joined(separator: "\n")))
                    let own = try await fixture.hub.store(TestUpload(records.joined(separator: "\n")))
                    #expect(try await fixture.imports("move", "--to", "postgres", own.id).exit == .code(0))
                    #expect(try await fixture.runScript() == [1, 1])
                    let read = try await fixture.hub.get(own.id, "/records?offset=0&limit=100")
                    #expect(read.status == 500 && read.problemCode == "import_damaged", "\(read.text)")
                    for command in [["verify"], ["verify", "--repair"], ["move", "--to", "postgres"]] {
                        let (exit, output, errors) = try await fixture.hub.command(["imports"] + command)
                        #expect(exit == .code(1) && (output + errors).contains(own.id), "\(command): \(output)\(errors)")
                    }
                    #expect(try await fixture.hub.records(other.id, from: 0, limit: 100) == records)
                    try await Self.expectRecovery(of: own.id, records, keys, fixture)
                    #expect(try await fixture.imports("verify").exit == .code(0))
                }
            }
        }

        /// Decrypts the script's copy as another program, then puts it back into rows, as docs/MIGRATING.md says.
        private static func expectRecovery(
            of id: String, _ records: [String], _ keys: ImportKeyFixture, _ fixture: LegacyImportFixture
        ) async throws {
            let copied = try await fixture.service.call("imports.read_import", #"{"import_id":"\#(id)"}"#)
            func number(_ row: JSONText) -> Int {
                Int(row.stringValue?.split(separator: ":").dropFirst(2).first.map(String.init) ?? "") ?? -1
            }
            let rows = copied.elements.sorted { number($0) < number($1) }.map(\.string).joined(separator: "\n")
            let description = try await fixture.cluster.query("SELECT encryption FROM data_imports WHERE id = '\(id)'")
            #expect(
                try await keys.decrypt(rows: rows, description: description, id: id, account: "0", isSample: false) == records)
            try await fixture.cluster.query(
                """
                BEGIN;
                DELETE FROM raw_import_records WHERE data_import_id = '\(id)';
                INSERT INTO raw_import_records (id, data_import_id, record_index, raw_text, raw_data)
                SELECT gen_random_uuid(), '\(id)', split_part(r #>> '{}', ':', 3)::int, r::json, r
                FROM jsonb_array_elements('\(copied.string)'::jsonb) r;
                UPDATE data_imports SET storage_location = NULL, storage_provider = 'postgres' WHERE id = '\(id)';
                COMMIT;
                """)
            #expect(try await fixture.hub.records(id, from: 0, limit: 100) == records)
            #expect(try await fixture.imports("verify", "--repair").exit == .code(0))
            #expect(try await fixture.imports("move", "--to", "r2").exit == .code(0))
            #expect(try await fixture.hub.records(id, from: 0, limit: 100) == records)
        }

        /// The script's transaction holds the rows; the move of this import fails, and the next one is moved.
        @Test func moveGoesOnWhileScriptHoldsAnImport() async throws {
            try await LegacyImportFixture.running(["FLOWHUB_PG_LOCK_SECONDS": "1"]) { fixture in
                let records = LegacyImportFixture.records(0..<25)
                let ids = [try await fixture.storeRows(records), try await fixture.storeRows(records)]
                let arguments = #"{"import_id":"\#(ids[0])","step":"flushed"}"#
                #expect(try await fixture.service.call("migrate_to_r2.stop_before", arguments).boolValue == true)
                let moved = try await fixture.imports("move", "--to", "r2")
                #expect(moved.exit == .code(1) && moved.errors.contains("1 imports with 25 records moved."), "\(moved)")
                #expect(moved.errors.contains("import \(ids[0]) was not moved and is unchanged"), "\(moved)")
                #expect(
                    try await fixture.service.call("migrate_to_r2.go_on", #"{"import_id":"\#(ids[0])"}"#).boolValue == true)
                for id in ids { try await fixture.expect(records, of: id) }
                #expect(try await fixture.imports("verify").exit == .code(0))
            }
        }
    }
}
