import FlowCore
import FlowEmbedded
import Testing

@Suite struct ImportSweepTests {
    /// So long that whatever the test made is older.
    private static let anyAge: Int64 = -10_000_000_000

    @Test("An upload that nobody finished goes, even under the key of an object that is there, and the object stays")
    func twin() async throws {
        try await withStore { store, folder in
            // As a store keeps one whose beginning it did not get to tell.
            let hall = try ImportServiceFixture(
                store, folder,
                wrapping: { _, objects in
                    InterceptedObjectStore(inner: objects) { inner, key, attributes throws(ObjectError) in
                        try await inner.upload(key, attributes).write([1])
                        return try await inner.upload(key, attributes)
                    }
                })
            let entry = try await hall.take("[{\"n\":1}]", format: .json)
            let key = try #require(entry.location)
            #expect(try await hall.objects.unfinishedUploads(prefix: "imports/").map(\.key) == [key])
            let sweeper = ImportSweeper(hall.service)
            for isDry in [true, false] {
                let report = try await sweeper.sweep(olderThan: Self.anyAge, isDry: isDry)
                #expect(report.uploads.map(\.key) == [key])
                #expect(report.orphans == [] && report.dangling == [])
            }
            #expect(try await hall.objects.unfinishedUploads(prefix: "") == [])
            #expect(try await hall.objects.head(key) != nil)
            // Nobody holds it.
            try await hall.service.delete(entry.id, account: "7")
            #expect(try await hall.objects.list(prefix: "", after: nil, limit: 9).objects == [])
        }
    }

    @Test("An upload of an import that is being taken in is left alone")
    func alive() async throws {
        try await withStore { store, folder in
            let hall = try ImportServiceFixture(store, folder)
            let id = ImportID.random()
            let key = Import.objectKey(account: "7", createdAt: start, id: id, claim: 1)
            let draft = ImportDraft(
                id: id, account: "7", flow: nil, fileName: nil, sourceType: nil, provider: "folder", location: key,
                idempotencyKey: nil, createdAt: start)
            _ = try await hall.ledger.begin(draft, claimSeconds: 60)
            let upload = try await hall.objects.upload(key, ObjectAttributes())
            try await upload.write([1])
            let report = try await ImportSweeper(hall.service).sweep(olderThan: Self.anyAge, isDry: false)
            #expect(report.uploads == [] && report.abandoned == 0)
            #expect(try await upload.finish().size == 1)
        }
    }
}
