import FlowCore
import FlowEmbedded
import FlowObjects
import Synchronization
import Testing

@Suite struct HostileImportTests {
    private static func lines(_ count: Int, padding: Int = 0) -> String {
        let padding = String(repeating: "x", count: padding)
        return (0..<count).map { "{\"n\":\($0),\"p\":\"\(padding)\"}\n" }.joined()
    }

    private static func number(_ record: JSONText) -> Int64? { record.member("n")?.intValue }

    // MARK: Size

    @Test func returnsLargeRecordsInBoundedPages() async throws {
        try await withStore { store, folder in
            var configuration = ImportConfiguration()
            configuration.answerBytes = 100_000
            configuration.memberBytes = 50_000
            for isRows in [false, true] {
                let fixture = try ImportServiceFixture(store, folder, isRows: isRows, configuration)
                let entry = try await fixture.ingest(Self.lines(60, padding: 30_000), format: .ndjson)
                var found: [Int64?] = []
                while found.count < 60 {
                    let (some, total) = try await fixture.service.records(
                        entry.id, account: "7", offset: found.count, limit: 1_000)
                    #expect(total == 60)
                    try #require(!some.isEmpty)
                    #expect(some.reduce(0) { $0 + $1.bytes.count } < 1_200_000)
                    #expect(isRows || some.count < 5)
                    found += some.map(Self.number)
                }
                #expect(found == Array(0..<60))
                // The sample comes from the cache, to which the import wrote it.
                let sample = try await fixture.service.sample(entry.id, account: "7").elements
                #expect(sample.count == Import.sampleRows)
                #expect(try await fixture.ledger.samples(of: entry.id).count == Import.sampleRows)
            }
        }
    }

    @Test func rejectsCSVOverExpansionRatioAndStoresNothing() async throws {
        try await withStore { store, folder in
            let fixture = try ImportServiceFixture(store, folder)
            let header = (0..<2_000).map { "column_\($0)_of_many" }.joined(separator: ",")
            do {
                _ = try await fixture.ingest(header + "\n" + String(repeating: "a\n", count: 20_000), format: .csv)
                Issue.record("It was taken.")
            } catch ImportError.suspiciousRatio(let limit) {
                #expect(limit == 250)
            }
            let list = try await fixture.service.list(ImportQuery(account: "7", limit: 10))
            #expect(list.imports.map(\.status) == [.failed])
            #expect(try await fixture.objects.list(prefix: "", after: nil, limit: 10).objects.isEmpty)
        }
    }

    // MARK: Objects without an index

    @Test func findsRecordsByNumberWithoutIndex() async throws {
        try await withStore { store, folder in
            let fixture = try ImportServiceFixture(store, folder)
            let id = ImportID.random()
            let key = "imports/7/old/\(id)/raw_data.json.gz"
            let count = 3_000
            let text =
                "["
                + (0..<count).map { "{\"n\":\($0),\"p\":\"\(String(repeating: "y", count: 1_000))\"}" }.joined(separator: ", ")
                + "]"
            let compressed = await fixture.codec.compress(Array(text.utf8))
            let upload = try await fixture.objects.upload(key, ObjectAttributes())
            try await upload.write(compressed)
            _ = try await upload.finish()
            _ = try await fixture.ledger.begin(
                ImportDraft(
                    id: id, account: "7", flow: nil, fileName: nil, sourceType: nil, provider: "folder", location: key,
                    idempotencyKey: nil, createdAt: start), claimSeconds: 60)
            let storage = StorageMetadata(
                bucket: "objects", sizeBytes: compressed.count, originalSizeBytes: 1, recordCount: count, dataHash: nil,
                contentHash: "")
            let result = ImportResult(storage: storage, fieldSummary: .emptyObject, index: nil, samples: [], requestHash: nil)
            #expect(try await fixture.ledger.finish(id, claim: 1, result))
            for (offset, limit) in [(0, 3), (5, 3), (1_020, 40), (2_000, 10), (2_995, 10), (3_000, 10), (.max, 1)] {
                let found = try await fixture.service.records(id, account: "7", offset: offset, limit: limit).records
                let wanted = offset < count ? Array(Int64(offset)..<Int64(min(offset + limit, count))) : []
                #expect(found.map(Self.number) == wanted, "from \(offset)")
            }
            // The size in the metadata of the legacy service is not trusted as the length of a response.
            #expect(try await fixture.service.document(id, account: "7").bytes == nil)
        }
    }

    @Test(arguments: ["9223372036854775807", "-1234", "-9223372036854775808"])
    func rejectsStorageMetadataWithInvalidSize(size: String) throws {
        let text = #"{"size_bytes":\#(size),"original_size_bytes":7,"record_count":3}"#
        let json = try JSONText(validating: Array(text.utf8))
        // Implausible metadata is rejected; otherwise its ratio could not be calculated.
        #expect(StorageMetadata(json)?.json == nil)
    }

    // MARK: Moved while it is read

    @Test func documentReadFailsIfRowsAreMoved() async throws {
        try await withStore { store, folder in
            let entry = try await ImportServiceFixture(store, folder, isRows: true).ingest(Self.lines(3_000), format: .ndjson)
            let fixture = try ImportServiceFixture(store, folder)
            let (document, bytes) = try await fixture.service.document(entry.id, account: "7")
            #expect(bytes == nil, "rows may come while they are read")
            _ = try await document.next()
            let outcome = try await ImportMover(fixture.service).moveToObjects(entry.id) { _ in }
            guard case .moved(records: 3_000, bytes: _) = outcome else {
                Issue.record("\(outcome)")
                return
            }
            await #expect(throws: ImportError.self) { while try await document.next() != nil {} }
        }
    }

    @Test func recordsSampleAndAnalysisSurviveConcurrentMove() async throws {
        try await withStore { store, folder in
            let rows = try ImportServiceFixture(store, folder, isRows: true)
            for reading in 0..<3 {
                let entry = try await rows.ingest(Self.lines(300), format: .ndjson)
                let mover = ImportMover(try ImportServiceFixture(store, folder).service)
                let intercepted = InterceptedRecordStore(rows.ledger) {
                    let outcome = try? await mover.moveToObjects(entry.id) { _ in }
                    if case .moved(records: 300, bytes: _)? = outcome { return }
                    Issue.record("\(outcome as Any)")
                }
                let service = try ImportServiceFixture(store, folder, records: intercepted).service
                switch reading {
                case 0:
                    let records = try await service.records(entry.id, account: "7", offset: 5, limit: 100).records
                    #expect(records.map(Self.number) == Array(5..<105))
                case 1:
                    #expect(try await service.sample(entry.id, account: "7").elements.map(Self.number) == Array(0..<100))
                default:
                    #expect(try await service.analysis(entry.id, account: "7").member("records_analyzed")?.intValue == 300)
                }
            }
        }
    }
}

/// A record store that runs a closure once, before the first read.
private final class InterceptedRecordStore: RecordStore {
    private let records: any RecordStore
    private let intercept: @Sendable () async -> Void
    private let hasIntercepted = Atomic<Bool>(false)

    init(_ records: any RecordStore, _ intercept: @escaping @Sendable () async -> Void) {
        self.records = records
        self.intercept = intercept
    }

    private func interceptOnce() async {
        if !self.hasIntercepted.exchange(true, ordering: .relaxed) { await self.intercept() }
    }

    var provider: String { self.records.provider }

    func append(
        _ records: [JSONText], at index: Int, to id: ImportID, account: String, claim: Int64
    ) async throws(StoreError) -> Bool {
        try await self.records.append(records, at: index, to: id, account: account, claim: claim)
    }

    func records(of id: ImportID, offset: Int, limit: Int) async throws(StoreError) -> [JSONText] {
        await self.interceptOnce()
        return try await self.records.records(of: id, offset: offset, limit: limit)
    }

    func records(of id: ImportID, after bookmark: RecordBookmark?, limit: Int) async throws(StoreError) -> RecordSlice {
        await self.interceptOnce()
        return try await self.records.records(of: id, after: bookmark, limit: limit)
    }

    func removeRecords(of id: ImportID, claim: Int64) async throws(StoreError) -> Bool {
        try await self.records.removeRecords(of: id, claim: claim)
    }

    func rowCounts(of id: ImportID) async throws(StoreError) -> RowCounts { try await self.records.rowCounts(of: id) }

    func digest(of id: ImportID) async throws(StoreError) -> RowDigest { try await self.records.digest(of: id) }

    func switchToObject(
        _ id: ImportID, claim: Int64, location: String, provider: String, expecting: RowDigest, _ result: ImportResult
    ) async throws(StoreError) -> Bool {
        try await self.records.switchToObject(
            id, claim: claim, location: location, provider: provider, expecting: expecting, result)
    }

    func switchToRows(_ id: ImportID, claim: Int64, count: Int, _ result: ImportResult) async throws(StoreError) -> Bool {
        try await self.records.switchToRows(id, claim: claim, count: count, result)
    }
}
