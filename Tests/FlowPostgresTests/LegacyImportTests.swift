import FlowCore
import FlowTestKit
import Testing

@testable import FlowPostgres

/// Rows of a legacy service are read as imports, and that service can read the rows that the hub writes.
@Suite(.serialized, .postgres()) struct LegacyImportTests {
    private static func numbers(_ records: [JSONText]) -> [Int64] { records.compactMap { $0.member("n")?.intValue } }

    private static func all(_ ledger: PostgresImportLedger, _ id: ImportID, limit: Int) async throws -> [JSONText] {
        var records: [JSONText] = []
        var bookmark: RecordBookmark?
        repeat {
            let page = try await ledger.records(of: id, after: bookmark, limit: limit)
            records += page.records
            bookmark = page.next
        } while bookmark != nil
        return records
    }

    private static func result(_ records: [JSONText], hasObject: Bool) -> ImportResult {
        let bytes = records.reduce(0) { $0 + $1.bytes.count + 1 }
        var index = GzipMemberIndex()
        index.append(GzipMemberIndex.Member(records: records.count, compressed: 10, uncompressed: bytes))
        return ImportResult(
            storage: StorageMetadata(
                bucket: nil, sizeBytes: 10, originalSizeBytes: bytes, recordCount: records.count, dataHash: nil, contentHash: "c0"
            ),
            fieldSummary: .emptyObject, index: hasObject ? index : nil, samples: Array(records.prefix(10)), requestHash: nil)
    }

    /// The legacy service sets the status of imports that it, or a hub, has stored.
    @Test func storedImportWithStatusFailedIsNoFailedImport() async throws {
        try await LegacyTables.integers.withLedger { ledger, server, database in
            let later = Timestamp(milliseconds: 32_503_680_000_000)
            try await server.query("UPDATE data_imports SET status = 'failed', updated_at = now() - interval '1 h'", in: database)
            #expect(try await ledger.failed(before: later, limit: 9) == [])
            try await server.query(
                """
                UPDATE data_imports SET claim = 3, account = '7', storage_metadata = '{"content_hash": "c0"}'
                """, in: database)
            #expect(try await ledger.failed(before: later, limit: 9) == [])
            try await server.query("UPDATE data_imports SET storage_metadata = NULL", in: database)
            #expect(try await ledger.failed(before: later, limit: 9).count == 1)
        }
    }

    @Test(arguments: LegacyTables.allCases)
    func legacyImportsAreStoredAndNeedNoMaintenance(_ tables: LegacyTables) async throws {
        try await tables.withLedger { ledger, server, database in
            let id = try #require(LegacyTables.id)
            let old = try #require(try await ledger.load(id))
            var expected = Import(
                id: id, account: "7", flow: FlowID(LegacyTables.flow), fileName: "a.csv", sourceType: "csv", status: .stored,
                createdAt: old.createdAt, provider: "postgres")
            #expect(old == expected)
            #expect(old.createdAt.description == "2024-02-03T04:05:06.000Z")
            #expect(try await ledger.list(ImportQuery(account: "7", status: .stored, limit: 9)).imports == [old])
            #expect(try await ledger.list(ImportQuery(account: "7", flow: old.flow, limit: 9)).imports == [old])
            #expect(try await ledger.imports(after: nil, limit: 9) == [old])
            #expect(try await ledger.abandoned(limit: 9) == [])
            #expect(try await ledger.unannounced(limit: 9) == [])
            #expect(try await ledger.index(of: id) == nil)
            // After a claim and its release the import is unchanged.
            expected.claim = try #require(try await ledger.claim(id, from: [.stored], to: nil, seconds: 60)).claim
            #expect(try await ledger.extend(id, claim: 1, seconds: 0))
            #expect(try await ledger.load(id) == expected)
            #expect(try await ledger.abandoned(limit: 9) == [])
            #expect(try await ledger.unannounced(limit: 9) == [])
            // An import that the legacy service itself moved to an object.
            let account = tables == .uuids ? "8" : nil
            try await server.query(
                """
                INSERT INTO data_imports (id, client_account_id, discovery_flow_id, file_name, source_type, storage_location,
                    storage_metadata)
                VALUES ('00000000-0000-4000-8000-000000000002', \(account ?? "NULL"), '\(LegacyTables.flow)', 'b', 'json', 'imports/b',
                    '{"bucket": "b", "size_bytes": 5, "original_size_bytes": 9, "record_count": 3, "data_hash": "d4"}')
                """, in: database)
            let second = try #require(ImportID("00000000-0000-4000-8000-000000000002"))
            let moved = try #require(try await ledger.load(second))
            #expect(moved.provider == "r2")
            #expect(moved.account == (account ?? ""))
            #expect(moved.status == .stored)
            #expect(moved.storage?.recordCount == 3)
            #expect(moved.storage?.contentHash == "")
            #expect(try await ledger.isReferenced("imports/b"))
        }
    }

    @Test(arguments: LegacyTables.allCases)
    func legacyRowsAreRecordsInCreationOrder(_ tables: LegacyTables) async throws {
        try await tables.withLedger { ledger, server, database in
            let id = try #require(LegacyTables.id)
            let order = try await server.query(
                "SELECT raw_data ->> 'n' FROM raw_import_records ORDER BY created_at NULLS LAST, id", in: database
            ).split(separator: "\n").compactMap { Int64($0) }
            #expect(order.count == 25)
            let records = try await ledger.records(of: id, offset: 0, limit: 100)
            #expect(Self.numbers(records) == order)
            let first = try #require(records.first)
            #expect(first.string.contains(#""name":"[a, \"b\": c]""#))
            #expect(!first.string.contains(": 0"))
            for offset in 0..<26 {
                #expect(try await ledger.records(of: id, offset: offset, limit: 4) == Array(records[offset...].prefix(4)))
            }
            for limit in [1, 2, 5, 24, 25, 26] { #expect(try await Self.all(ledger, id, limit: limit) == records) }
            #expect(try await ledger.digest(of: id).count == 25)
        }
    }

    /// Rows of the legacy service may share a number, and may have no time.
    @Test(arguments: LegacyTables.allCases)
    func pagesHaveEachRowOnceAlthoughNumbersRepeatAndTimesAreMissing(_ tables: LegacyTables) async throws {
        try await tables.withLedger { ledger, server, database in
            let id = try #require(LegacyTables.id)
            let number = "(raw_data ->> 'n')::integer"
            try await server.query(
                """
                UPDATE raw_import_records SET record_index = \(number) / 5,
                    created_at = CASE WHEN \(number) % 2 = 0 THEN created_at END
                """, in: database)
            let records = try await ledger.records(of: id, offset: 0, limit: 100)
            #expect(Self.numbers(records).sorted() == Array(0..<25))
            for limit in 1...26 { #expect(try await Self.all(ledger, id, limit: limit) == records, "pages of \(limit)") }
        }
    }

    @Test(arguments: LegacyTables.allCases)
    func numberedRowsOfTheServiceAreNeitherReplacedNorRemoved(_ tables: LegacyTables) async throws {
        try await tables.withLedger { ledger, server, database in
            let id = try #require(LegacyTables.id)
            try await server.query(
                "UPDATE raw_import_records SET record_index = (raw_data ->> 'n')::integer, is_sample = (raw_data ->> 'n')::integer < 5",
                in: database)
            #expect(
                try await ledger.rowCounts(of: id)
                    == RowCounts(rows: 25, samples: 5, numbered: 25, isContiguous: true, foreign: 20))
            let records = try await ledger.records(of: id, offset: 0, limit: 100)
            let claim = try #require(try await ledger.claim(id, from: [.stored], to: nil, seconds: 60)).claim
            #expect(try await ledger.append(records, at: 0, to: id, account: "7", claim: claim))
            #expect(try await ledger.rowCounts(of: id).foreign == 20)
            #expect(try await ledger.switchToRows(id, claim: claim, count: 25, Self.result(records, hasObject: false)) == false)
            #expect(try await ledger.removeRecords(of: id, claim: claim))
            #expect(
                try await server.query("SELECT count(*) FROM raw_import_records WHERE raw_text IS NULL", in: database) == "20")
        }
    }

    @Test(arguments: LegacyTables.allCases)
    func movesLegacyImportOutAndInDuringInserts(_ tables: LegacyTables) async throws {
        try await tables.withLedger { ledger, server, database in
            let id = try #require(LegacyTables.id)
            let records = try await ledger.records(of: id, offset: 0, limit: 100)
            let claim = try #require(try await ledger.claim(id, from: [.stored], to: nil, seconds: 60)).claim
            let digest = try await ledger.digest(of: id)
            let out = Self.result(records, hasObject: true)
            // A row that was inserted while the object was being written.
            try await server.query(tables.insertion(25..<26), in: database)
            #expect(
                try await ledger.switchToObject(id, claim: claim, location: "l", provider: "r2", expecting: digest, out) == false)
            #expect(try await ledger.digest(of: id).count == 26)
            try await server.query("DELETE FROM raw_import_records WHERE raw_data ->> 'n' = '25'", in: database)
            #expect(try await ledger.switchToObject(id, claim: claim, location: "l", provider: "r2", expecting: digest, out))
            #expect(try await ledger.samples(of: id) == Array(records[..<10]))
            #expect(try await ledger.digest(of: id).count == 10)
            let moved = try #require(try await ledger.load(id))
            #expect(moved.location == "l")
            #expect(moved.totalRecords == 25)
            #expect(try await ledger.unannounced(limit: 9) == [])
            // The legacy service does not know of the move and inserts more rows.
            try await server.query(tables.insertion(26..<28), in: database)
            #expect(try await ledger.samples(of: id).count == 10)
            let back = try #require(try await ledger.claim(id, from: [.stored], to: nil, seconds: 60)).claim
            #expect(try await ledger.append(Array(records[10..<20]), at: 10, to: id, account: "7", claim: back))
            #expect(try await ledger.removeRecords(of: id, claim: back))
            #expect(try await ledger.digest(of: id).count == 12)
            #expect(try await ledger.append(Array(records[10...]), at: 10, to: id, account: "7", claim: back))
            #expect(try await ledger.switchToRows(id, claim: back, count: 25, Self.result(records, hasObject: false)))
            let all = try await ledger.records(of: id, offset: 0, limit: 100)
            #expect(Array(all[..<25]) == records)
            #expect(Self.numbers(Array(all[25...])).sorted() == [26, 27])
            #expect(try await ledger.records(of: id, offset: 24, limit: 2) == Array(all[24..<26]))
            #expect(try await ledger.records(of: id, offset: 26, limit: 5) == Array(all[26...]))
            #expect(try await Self.all(ledger, id, limit: 4) == all)
            let leaving = try #require(try await ledger.claim(id, from: [.stored], to: .deleting, seconds: 60)).claim
            #expect(try await ledger.remove(id, claim: leaving))
            #expect(try await server.query("SELECT count(*) FROM raw_import_records", in: database) == "0")
        }
    }

    @Test(arguments: LegacyTables.allCases)
    func legacyServiceReadsImportsOfHub(_ tables: LegacyTables) async throws {
        try await tables.withLedger { ledger, server, database in
            let records = try [#"{"b":1,"a":{"x":"y"}}"#, #"{"a":"\u0000"}"#, #"{"n":1e-0200000}"#, #"{"a":"\\u0000"}"#].map {
                try JSONText(validating: $0.utf8)
            }
            var found: [String] = []
            for (account, flow) in [
                ("7", LegacyTables.flow), ("007", "a"), ("2147483648", LegacyTables.flow.uppercased()), ("x", "a"),
            ] {
                let draft = ImportDraft(
                    id: .random(), account: account, flow: FlowID(flow), fileName: String(repeating: "n", count: 200),
                    sourceType: "json", provider: "postgres", location: nil, idempotencyKey: nil, createdAt: start)
                guard case .begun(let begun) = try await ledger.begin(draft, claimSeconds: 60) else {
                    Issue.record("the import was not begun")
                    return
                }
                #expect(begun.account == account)
                #expect(begun.flow?.rawValue == flow)
                #expect(try await ledger.append(records, at: 0, to: draft.id, account: account, claim: 1))
                #expect(try await ledger.finish(draft.id, claim: 1, Self.result(records, hasObject: false)))
                #expect(try await ledger.records(of: draft.id, offset: 0, limit: 9) == records)
                found.append(
                    try await server.query(
                        """
                        SELECT i.client_account_id, i.discovery_flow_id, min(r.client_account_id), count(r.raw_data),
                            count(*) FILTER (WHERE r.is_sample)
                        FROM data_imports i JOIN raw_import_records r ON r.data_import_id = i.id
                        WHERE i.id = '\(draft.id)' GROUP BY 1, 2
                        """, in: database))
            }
            // jsonb rejects two of the records.
            let big = tables == .integers ? "2147483648" : ""
            func flow(_ text: String) -> String { tables == .uuids ? "" : text }
            #expect(
                found == [
                    "7|\(LegacyTables.flow)|7|2|4", "|\(flow("a"))||2|4",
                    "\(big)|\(flow(LegacyTables.flow.uppercased()))|\(big)|2|4",
                    "|\(flow("a"))||2|4",
                ])
            #expect(
                try await server.query(
                    "SELECT DISTINCT raw_data ->> 'b' FROM raw_import_records WHERE raw_data ->> 'b' IS NOT NULL", in: database)
                    == "1")
        }
    }

    /// The cost of a page of records must not grow with its position.
    @Test func largeImportReadsAtConstantSpeedAndMovesCompletely() async throws {
        let count = TestScale.pick(20_000, full: 1_000_000)
        try await LegacyTables.uuids.withLedger(rows: count) { _, server, database in
            // With the default batch sizes.
            let store = try await openStore(server.url(database))
            let ledger = PostgresImportLedger(store)
            let id = try #require(LegacyTables.id)
            let claim = try #require(try await ledger.claim(id, from: [.stored], to: nil, seconds: 3_600)).claim
            let digest = try await ledger.digest(of: id)
            #expect(digest.count == count)
            var sum = 0
            var seen = 0
            var times: [Duration] = []
            var samples: [JSONText] = []
            var bookmark: RecordBookmark?
            repeat {
                let started = ContinuousClock.now
                let page = try await ledger.records(of: id, after: bookmark, limit: 2_000)
                times.append(ContinuousClock.now - started)
                if samples.isEmpty { samples = Array(page.records.prefix(10)) }
                for record in page.records { sum += Int(record.member("n")?.intValue ?? 0) }
                seen += page.records.count
                bookmark = page.next
            } while bookmark != nil
            #expect(seen == count)
            #expect(sum == count * (count - 1) / 2)
            let tenth = max(1, times.count / 10)
            let first = times.prefix(tenth + 1).dropFirst().reduce(.zero, +)
            let last = times.dropLast().suffix(tenth).reduce(.zero, +)
            #expect(last < first * 10 + .seconds(1), "\(first) became \(last)")
            var out = Self.result([], hasObject: true)
            out.storage.recordCount = count
            #expect(try await ledger.switchToObject(id, claim: claim, location: "l", provider: "r2", expecting: digest, out))
            #expect(try await ledger.samples(of: id) == samples)
            let back = try #require(try await ledger.claim(id, from: [.stored], to: nil, seconds: 3_600)).claim
            for index in stride(from: 10, to: count, by: 2_000) {
                let records = (index..<min(index + 2_000, count)).map { JSONText(trusted: Array("{\"n\":\($0)}".utf8)) }
                #expect(try await ledger.append(records, at: index, to: id, account: "7", claim: back))
            }
            out.index = nil
            #expect(try await ledger.switchToRows(id, claim: back, count: count, out))
            #expect(
                Self.numbers(try await ledger.records(of: id, offset: count - 3, limit: 9))
                    == [-3, -2, -1].map { Int64(count + $0) })
            let leaving = try #require(try await ledger.claim(id, from: [.stored], to: .deleting, seconds: 3_600)).claim
            #expect(try await ledger.remove(id, claim: leaving))
            #expect(try await server.query("SELECT count(*) FROM raw_import_records", in: database) == "0")
            await store.close()
        }
    }
}
