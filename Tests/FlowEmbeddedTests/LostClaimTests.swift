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
            let hall = try ImportHall(store, folder, wrapping: { Usurper(ledger: $0, inner: $1) }, configuration)
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

    /// Has an import ended by others once its object is there, and tells its worker of the object only when that has heard of it.
    private struct Usurper: ObjectStore {
        let ledger: SQLiteImportLedger
        let inner: FolderObjectStore

        var provider: String { self.inner.provider }
        var bucket: String { self.inner.bucket }

        func upload(_ key: String, _ attributes: ObjectAttributes) async throws(ObjectError) -> any ObjectUpload {
            Upload(
                inner: try await self.inner.upload(key, attributes), ledger: self.ledger,
                id: attributes.metadata["import-id"].flatMap(ImportID.init))
        }

        func download(_ key: String, range: Range<Int>?) async throws(ObjectError) -> any ObjectDownload {
            try await self.inner.download(key, range: range)
        }

        func head(_ key: String) async throws(ObjectError) -> ObjectInfo? { try await self.inner.head(key) }

        func delete(_ key: String) async throws(ObjectError) { try await self.inner.delete(key) }

        func list(prefix: String, after: String?, limit: Int) async throws(ObjectError) -> ObjectList {
            try await self.inner.list(prefix: prefix, after: after, limit: limit)
        }

        func presign(_ key: String, seconds: Int, fileName: String) throws(ObjectError) -> String? {
            try self.inner.presign(key, seconds: seconds, fileName: fileName)
        }
    }

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
