import FlowCore
import FlowTestKit
import Testing

extension ImportSystemTests {
    /// Tests of `flowhub imports move` in both directions, also with data of the legacy service.
    @Suite struct ImportMoveTests {
        @Test func movesImportsToRowsAndBackUnchanged() async {
            await concurrently(ImportTopology.withObjects, self.movesImportsToRowsAndBackUnchanged(_:))
        }

        private func movesImportsToRowsAndBackUnchanged(_ topology: ImportTopology) async throws {
            try await ImportClusterFixture.running(topology) { cluster in
                var all: [(entry: StoredImport, records: [String])] = []
                let odd = [#"{"n":1.00,"n":2}"#, #""\u0000""#, "1e-400", "[]", #"{"b":1,"a":"é"}"#]
                for records in [odd, [], ImportOracle.records(9_000)] {
                    let text = "[" + records.joined(separator: ",") + "]"
                    all.append((try await cluster.hub.store(TestUpload(text)), records))
                }
                #expect(try await cluster.hub.send(TestUpload("[1,")).status == 400)
                func expectAll(_ provider: String) async throws {
                    for (entry, records) in all {
                        let now = try #require(StoredImport(try await cluster.hub.get(entry.id).json))
                        #expect(now.provider == provider && (now.location == nil) == (provider != topology.provider))
                        #expect(now.total == records.count && now.contentHash == entry.contentHash)
                        #expect(now.number("original_size_bytes") == entry.number("original_size_bytes"))
                        #expect(try await cluster.hub.get(entry.id, "/data").body == ImportOracle.document(records))
                        if records.count > 4_000 {
                            #expect(
                                try await cluster.hub.records(entry.id, from: 3_990, limit: 50) == Array(records[3_990..<4_040]))
                        }
                        #expect(try await cluster.hub.get(entry.id, "/schema").status == 200)
                    }
                    let verified = try await cluster.hub.command(["imports", "verify"])
                    #expect(verified.exit == .code(0) && verified.errors.contains("3 imports read, 0"), "\(verified)")
                }
                func move(_ to: String, _ more: String...) async throws -> (output: String, errors: String) {
                    let moved = try await cluster.hub.command(["imports", "move", "--to", to] + more)
                    #expect(moved.exit == .code(0), "\(moved)")
                    return (moved.output, moved.errors)
                }
                let before = try await cluster.keys()
                let dry = try await move("postgres", "--dry-run")
                #expect(dry.errors.contains("3 imports with 9,005 records would be moved."))
                #expect(all.allSatisfy { dry.output.contains($0.entry.id) })
                #expect(try await cluster.keys() == before)
                try await expectAll(topology.provider)

                #expect(try await move("postgres", "--limit", "1").errors.contains("1 imports with"))
                #expect(try await move("postgres").errors.contains("2 imports with"))
                try await expectAll(topology == .embedded ? "sqlite" : "postgres")
                #expect(try await cluster.keys().isEmpty)
                #expect(try await cluster.rowCount() == 9_005)
                #expect(try await move("postgres").errors.contains("0 imports with 0 records moved."))

                #expect(try await move("r2", all[2].entry.id.uppercased()).errors.contains("1 imports with 9,000 records"))
                #expect(try await move("r2", "--dry-run").errors.contains("2 imports with 5 records would be moved."))
                #expect(try await move("r2").errors.contains("2 imports with 5 records moved."))
                try await expectAll(topology.provider)
                #expect(try await cluster.rowCount() == 15)
                // The imports are objects already, so their sample rows are not moved again.
                let after = try await cluster.keys()
                #expect(after.count == 3)
                #expect(try await move("r2").errors.contains("0 imports with 0 records moved."))
                #expect(try await cluster.keys() == after)
                try await expectAll(topology.provider)
                #expect(try await cluster.uploads() == 0)
            }
        }

        private static let legacyID = "00000000-0000-4000-8000-000000000001"

        /// The tables as the legacy service creates them: only `raw_data`, and ids that are UUIDs.
        private static let legacyTables = """
            CREATE TABLE data_imports (id uuid PRIMARY KEY, client_account_id integer NOT NULL, discovery_flow_id uuid NOT NULL,
                file_name varchar(255) NOT NULL, source_type varchar(50) NOT NULL, created_at timestamptz);
            CREATE TABLE raw_import_records (id uuid PRIMARY KEY, client_account_id integer NOT NULL,
                data_import_id uuid REFERENCES data_imports (id), raw_data jsonb NOT NULL, created_at timestamptz);
            INSERT INTO data_imports VALUES ('\(legacyID)', 0, '6f2c1de4-5b1b-4a43-8d9c-0b6a4f4f8f10', 'a.csv', 'csv', now());
            \(legacyRows(0..<3_000))
            """

        private static func legacyRows(_ numbers: Range<Int>) -> String {
            """
            INSERT INTO raw_import_records SELECT md5(n::text)::uuid, 0, '\(legacyID)',
                jsonb_build_object('n', n, 'name', '[a, "b": c]', 'big', n * 1.50), timestamptz '2024-01-01' + n * interval '1 ms'
            FROM generate_series(\(numbers.lowerBound), \(numbers.upperBound - 1)) n;
            """
        }

        private static func record(_ number: Int) -> String {
            let big = "\(number * 3 / 2).\(number * 3 % 2 == 0 ? "00" : "50")"
            return #"{"n":\#(number),"big":\#(big),"name":"[a, \"b\": c]"}"#
        }

        @Test func movesLegacyRowsToObjectsAndBack() async throws {
            try await ImportClusterFixture.running(.r2, after: Self.legacyTables) { cluster in
                let hub = cluster.hub
                let expected = (0..<3_000).map { Self.record($0) }
                #expect(try await hub.records(Self.legacyID, from: 2_990, limit: 50) == Array(expected.suffix(10)))
                let document = try await hub.get(Self.legacyID, "/data").body
                #expect(document == ImportOracle.document(expected))
                let original = try await cluster.query(
                    "SELECT md5(string_agg(raw_data::text, ',' ORDER BY id)) FROM raw_import_records")
                let moved = try await hub.command(["imports", "move", "--to", "r2"])
                #expect(moved.exit == .code(0) && moved.errors.contains("1 imports with 3,000 records moved."), "\(moved)")
                let entry = try #require(StoredImport(try await hub.get(Self.legacyID).json))
                #expect(entry.total == 3_000 && entry.json.member("field_summary")?.member("field_count")?.intValue == 3)
                #expect(try await hub.get(Self.legacyID, "/data").body == document)
                #expect(try await hub.records(Self.legacyID, from: 1_500, limit: 1) == [Self.record(1_500)])
                #expect(try await cluster.rowCount() == 10)
                #expect(try await cluster.query("SELECT count(*) FROM raw_import_records WHERE is_sample") == "10")

                // The legacy service adds rows after the move.
                try await cluster.query(Self.legacyRows(3_000..<3_005))
                let verified = try await hub.command(["imports", "verify"])
                #expect(verified.exit == .code(0), "\(verified)")
                #expect(verified.output.contains("5 extra rows in the database besides the object"), "\(verified)")
                #expect(try await hub.get(Self.legacyID, "/data").body == document)
                #expect(try await hub.command(["imports", "move", "--to", "r2"]).errors.contains("0 imports"))
                #expect(try await cluster.rowCount() == 15)

                #expect(try await hub.command(["imports", "move", "--to", "postgres"]).exit == .code(0))
                let all = expected + (3_000..<3_005).map { Self.record($0) }
                #expect(try await cluster.rowCount() == 3_005)
                #expect(try await cluster.keys().isEmpty)
                #expect(try await hub.get(Self.legacyID, "/data").body == ImportOracle.document(all))
                #expect(
                    try await cluster.query(
                        "SELECT md5(string_agg(raw_data::text, ',' ORDER BY md5((raw_data ->> 'n'))::uuid)) FROM raw_import_records "
                            + "WHERE (raw_data ->> 'n')::int < 3000") == original)
                #expect(try await hub.command(["imports", "move", "--to", "r2"]).exit == .code(0))
                let last = try #require(StoredImport(try await hub.get(Self.legacyID).json))
                #expect(last.total == 3_005)
                #expect(try await hub.get(Self.legacyID, "/data").body == ImportOracle.document(all))
                #expect(try await hub.command(["imports", "verify"]).exit == .code(0))
                #expect(try await cluster.keys() == [last.location])
            }
        }

        /// An object as the legacy service's own script writes it: one gzip member, without index and content hash.
        @Test func readsVerifiesAndMovesLegacyObject() async throws {
            try await ImportClusterFixture.running(.r2) { cluster in
                let records = ImportOracle.records(3_000)
                let object = try await ImportOracle.gzip([Array("[\(records.joined(separator: ", "))]".utf8)])
                let key = "imports/0/2024/01/01/\(Self.legacyID)/raw_data.json.gz"
                try await cluster.overwrite(key, object)
                try await cluster.query(
                    """
                    INSERT INTO data_imports (id, client_account_id, discovery_flow_id, file_name, source_type, storage_provider,
                        storage_location, total_records, storage_metadata)
                    VALUES ('\(Self.legacyID)', 0, 'f', 'a.json', 'json', 'r2', '\(key)', 3000,
                        '{"bucket": "b", "size_bytes": \(object.count), "original_size_bytes": 5, "record_count": 3000}')
                    """)
                let hub = cluster.hub
                for (offset, limit) in [(0, 5), (500, 10), (1_234, 1_000), (2_999, 10), (3_000, 10)] {
                    #expect(
                        try await hub.records(Self.legacyID, from: offset, limit: limit)
                            == Array(records.dropFirst(offset).prefix(limit)), "\(offset)")
                }
                #expect(try await hub.get(Self.legacyID, "/data").json.elements.map(\.string) == records)
                #expect(try await hub.get(Self.legacyID, "/sample").json.member("records")?.elements.count == 100)
                #expect(try await hub.get(Self.legacyID, "/schema").json.member("records_analyzed")?.intValue == 3_000)
                #expect(try await hub.command(["imports", "verify"]).exit == .code(0))
                let moved = try await hub.command(["imports", "move", "--to", "postgres"])
                #expect(moved.exit == .code(0), "\(moved)")
                #expect(try await hub.get(Self.legacyID, "/data").body == ImportOracle.document(records))
                #expect(try await cluster.rowCount() == 3_000)
                #expect(try await cluster.keys().isEmpty)
                #expect(try await hub.command(["imports", "move", "--to", "r2"]).exit == .code(0))
                #expect(try await hub.get(Self.legacyID, "/data").body == ImportOracle.document(records))
            }
        }

        @Test func neverLosesRowAddedDuringMove() async throws {
            try await ImportClusterFixture.running(.r2, after: Self.legacyTables) { cluster in
                let proxy = try cluster.proxy
                // The copy is written and is about to be read back.
                proxy.inject(.stall(isApplied: false), on: .getObject)
                let mover = try cluster.hub.startCommand(["imports", "move", "--to", "r2"])
                do {
                    try await proxy.wait(for: "the copy to be read back") { $0.contains { $0.operation == .getObject } }
                    try await cluster.query(Self.legacyRows(3_000..<3_001))
                    proxy.release()
                    #expect(try await mover.waitForExit(within: .seconds(60)) == .code(0))
                } catch {
                    await mover.destroy()
                    throw error
                }
                #expect(mover.errorOutput.contains("1 imports with 3,001 records moved."), "\(mover.errorOutput)")
                #expect(try await cluster.hub.records(Self.legacyID, from: 2_999) == [2_999, 3_000].map { Self.record($0) })
                #expect(try await cluster.keys().count == 1)
                #expect(try await cluster.rowCount() == 10)
                #expect(try await cluster.hub.command(["imports", "verify"]).exit == .code(0))
            }
        }

        @Test func leavesConstantlyChangingRowsInPlace() async throws {
            try await ImportClusterFixture.running(.r2, after: Self.legacyTables) { cluster in
                let proxy = try cluster.proxy
                proxy.inject(.stall(isApplied: false), on: .getObject, times: 3)
                let mover = try cluster.hub.startCommand(["imports", "move", "--to", "r2"])
                do {
                    for round in 0..<3 {
                        try await proxy.wait(for: "copy \(round)") { $0.count { $0.operation == .getObject } == round + 1 }
                        try await cluster.query(Self.legacyRows((3_000 + round)..<(3_001 + round)))
                        proxy.release()
                    }
                    #expect(try await mover.waitForExit(within: .seconds(60)) == .code(1))
                } catch {
                    await mover.destroy()
                    throw error
                }
                #expect(mover.errorOutput.contains("its rows changed during the move"))
                #expect(try await cluster.rowCount() == 3_003)
                #expect(try await cluster.keys().isEmpty)
                #expect(try await cluster.hub.records(Self.legacyID, from: 3_000).count == 3)
            }
        }

        @Test func rejectsSecondMoverAndDeleteDuringMove() async throws {
            try await ImportClusterFixture.running(.r2, after: Self.legacyTables) { cluster in
                let proxy = try cluster.proxy
                proxy.inject(.stall(isApplied: true), on: .putObject)
                let mover = try cluster.hub.startCommand(["imports", "move", "--to", "r2"])
                do {
                    try await proxy.wait(for: "the first one to write") { $0.contains { $0.operation == .putObject } }
                    for target in ["r2", "postgres"] {
                        let second = try await cluster.hub.command(["imports", "move", "--to", target])
                        #expect(second.exit == .code(4), "\(second)")
                        #expect(second.errors.contains("Another process is moving imports"))
                    }
                    let reply = try await cluster.hub.api.call("DELETE", "/v1/imports/\(Self.legacyID)")
                    #expect(reply.status == 409 && reply.problemCode == "import_held")
                    #expect(try await cluster.hub.records(Self.legacyID, from: 0, limit: 1) == [Self.record(0)])
                    // The ledger does not refer to the new object yet, but the sweep must not remove it.
                    let sweep = try await cluster.hub.command(["imports", "sweep", "--older-than", "0s"])
                    #expect(sweep.exit == .code(0) && sweep.output.isEmpty, "\(sweep)")
                    proxy.release()
                    #expect(try await mover.waitForExit(within: .seconds(60)) == .code(0), "\(mover.errorOutput)")
                } catch {
                    await mover.destroy()
                    throw error
                }
                #expect(try await cluster.hub.records(Self.legacyID, from: 2_999) == [Self.record(2_999)])
                #expect(try await cluster.hub.command(["imports", "verify"]).exit == .code(0))
                // The lock was released, so the next mover runs immediately.
                #expect(try await cluster.hub.command(["imports", "move", "--to", "postgres"]).exit == .code(0))
            }
        }
    }
}
