import FlowCore
import FlowEmbedded
import FlowTestKit
import Synchronization
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

    /// A round cleans up 100 imports at most. More than that can never be cleaned up, and one that can comes after them.
    @Test func deletionsThatCannotFinishDoNotBlockOthers() async throws {
        try await withStore { store, folder in
            let isAvailable = Mutex(false)
            let good = Mutex<String?>(nil)
            var configuration = ImportConfiguration()
            configuration.claimSeconds = 1
            let fixture = try ImportServiceFixture(
                store, folder,
                wrapping: { _, objects in
                    InterceptedObjectStore(
                        inner: objects,
                        failure: { key in
                            isAvailable.withLock { $0 } && key == good.withLock { $0 } ? nil : .unavailable("test")
                        })
                }, configuration)
            var entries: [Import] = []
            for _ in 0...100 { entries.append(try await fixture.ingest("[1]", format: .json)) }
            let last = try #require(entries.last)
            good.withLock { $0 = last.location }
            // No object can be deleted at first, so the sweep has to continue all deletions.
            for entry in entries { try await fixture.service.delete(entry.id, account: "7") }
            #expect(try await fixture.ledger.abandoned(limit: 200).count == 101)
            isAvailable.withLock { $0 = true }
            var rounds = 0
            while rounds < 2, try await fixture.ledger.load(last.id) != nil {
                // The claims of the failed attempts have expired, so all of them could be tried again.
                try await eventually("the claims to expire", every: .milliseconds(50)) {
                    try await fixture.ledger.abandoned(limit: 200).count == 101
                }
                await fixture.service.sweepAbandoned()
                rounds += 1
            }
            #expect(try await fixture.ledger.load(last.id) == nil)
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
