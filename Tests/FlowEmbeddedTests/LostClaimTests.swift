import FlowCore
import FlowEmbedded
import Testing

/// An import that is taken from its worker while its object comes to be.
@Suite struct LostClaimTests {
    @Test("An object that came to be just when its claim was lost is removed")
    func object() async throws {
        try await withStore { store, folder in
            var configuration = ImportConfiguration()
            configuration.claimSeconds = 4
            let hall = try ImportServiceFixture(
                store, folder,
                wrapping: { ledger, objects in
                    InterceptedObjectStore(inner: objects) { inner, key, attributes throws(ObjectError) in
                        Upload(
                            inner: try await inner.upload(key, attributes), ledger: ledger,
                            id: attributes.metadata["import-id"].flatMap(ImportID.init))
                    }
                }, configuration)
            let error = await #expect(throws: ImportError.self) { try await hall.take("[{\"n\":1}]", format: .json) }
            guard case .takenOver? = error else {
                Issue.record("\(String(describing: error))")
                return
            }
            let list = try await hall.service.list(ImportQuery(account: "7", limit: 10))
            #expect(list.imports.map(\.status) == [.failed])
            #expect(try await hall.objects.list(prefix: "", after: nil, limit: 10).objects.isEmpty)
        }
    }

    /// Has its import ended by others once the object is there, and tells its worker of the object only when that has heard of it.
    private struct Upload: ObjectUpload {
        let inner: any ObjectUpload
        let ledger: SQLiteImportLedger
        let id: ImportID?

        func write(_ bytes: [UInt8]) async throws(ObjectError) { try await self.inner.write(bytes) }

        func finish() async throws(ObjectError) -> ObjectInfo {
            let info = try await self.inner.finish()
            guard let id, await self.takeOver(id) else { throw .invalid("It could not be taken over.") }
            // Until the worker is cancelled.
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
