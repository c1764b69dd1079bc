import FlowCore
import FlowEmbedded
import Testing

/// An import whose claim is lost while its object is completed.
@Suite struct LostClaimTests {
    @Test func deletesObjectFinishedAfterClaimWasLost() async throws {
        try await withStore { store, folder in
            var configuration = ImportConfiguration()
            configuration.claimSeconds = 4
            let fixture = try ImportServiceFixture(
                store, folder,
                wrapping: { ledger, objects in
                    InterceptedObjectStore(inner: objects) { inner, key, attributes throws(ObjectError) in
                        Upload(
                            inner: try await inner.upload(key, attributes), ledger: ledger,
                            id: attributes.metadata["import_id"].flatMap(ImportID.init))
                    }
                }, configuration)
            let error = await #expect(throws: ImportError.self) { try await fixture.ingest("[{\"n\":1}]", format: .json) }
            guard case .claimLost? = error else {
                Issue.record("\(String(describing: error))")
                return
            }
            let list = try await fixture.service.list(ImportQuery(account: "7", limit: 10))
            #expect(list.imports.map(\.status) == [.failed])
            #expect(try await fixture.objects.list(prefix: "", after: nil, limit: 10).objects.isEmpty)
        }
    }

    /// After completing the object, it lets another worker claim and fail the import. It returns to its own worker
    /// only after that one was cancelled because its claim was lost.
    private struct Upload: ObjectUpload {
        let inner: any ObjectUpload
        let ledger: SQLiteImportLedger
        let id: ImportID?

        func write(_ bytes: [UInt8]) async throws(ObjectError) { try await self.inner.write(bytes) }

        func finish() async throws(ObjectError) -> ObjectInfo {
            let info = try await self.inner.finish()
            guard let id, await self.takeOver(id) else { throw .invalid("It could not be taken over.") }
            // Sleep until the worker is cancelled.
            try? await Task.sleep(for: .seconds(60))
            return info
        }

        private func takeOver(_ id: ImportID) async -> Bool {
            do {
                _ = try await self.ledger.extend(id, claim: 1, seconds: 0)
                guard let entry = try await self.ledger.claim(id, from: [.pending], to: nil, seconds: 60) else { return false }
                return try await self.ledger.fail(id, claim: entry.claim, reason: "taken over")
            } catch {
                return false
            }
        }

        func abort() async -> Bool { await self.inner.abort() }
    }
}
