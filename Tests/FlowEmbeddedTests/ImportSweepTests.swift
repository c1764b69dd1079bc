import FlowCore
import FlowEmbedded
import Testing

@Suite struct ImportSweepTests {
    /// A negative minimum age, so that everything that the test creates is old enough.
    private static let anyAge: Int64 = -10_000_000_000

    @Test func sweepAbortsUnfinishedUploadUnderExistingKey() async throws {
        try await withStore { store, folder in
            // An upload that the object store started without its reply reaching the hub.
            let fixture = try ImportServiceFixture(
                store, folder,
                wrapping: { _, objects in
                    InterceptedObjectStore(inner: objects) { inner, key, attributes throws(ObjectError) in
                        try await inner.upload(key, attributes).write([1])
                        return try await inner.upload(key, attributes)
                    }
                })
            let entry = try await fixture.ingest("[{\"n\":1}]", format: .json)
            let key = try #require(entry.location)
            #expect(try await fixture.objects.unfinishedUploads(prefix: "imports/").map(\.key) == [key])
            let sweeper = ImportSweeper(fixture.service)
            for isDryRun in [true, false] {
                let report = try await sweeper.sweep(olderThan: Self.anyAge, isDryRun: isDryRun)
                #expect(report.uploads.map(\.key) == [key])
                #expect(report.orphans == [] && report.dangling == [])
            }
            #expect(try await fixture.objects.unfinishedUploads(prefix: "") == [])
            #expect(try await fixture.objects.head(key) != nil)
            // The sweep has released its claim.
            try await fixture.service.delete(entry.id, account: "7")
            #expect(try await fixture.objects.list(prefix: "", after: nil, limit: 9).objects == [])
        }
    }

    @Test func sweepKeepsUploadOfClaimedImport() async throws {
        try await withStore { store, folder in
            let fixture = try ImportServiceFixture(store, folder)
            let id = ImportID.random()
            let key = Import.objectKey(account: "7", createdAt: start, id: id)
            let draft = ImportDraft(
                id: id, account: "7", flow: nil, fileName: nil, sourceType: nil, provider: "folder", location: key,
                idempotencyKey: nil, createdAt: start)
            _ = try await fixture.ledger.begin(draft, claimSeconds: 60)
            let upload = try await fixture.objects.upload(key, ObjectAttributes())
            try await upload.write([1])
            let report = try await ImportSweeper(fixture.service).sweep(olderThan: Self.anyAge, isDryRun: false)
            #expect(report.uploads == [] && report.abandoned == 0)
            #expect(try await upload.finish().size == 1)
        }
    }
}
