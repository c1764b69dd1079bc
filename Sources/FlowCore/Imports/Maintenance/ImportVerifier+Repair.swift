extension ImportVerifier {
    /// The outcome of repairing the ledger's row of one import.
    public enum RepairOutcome: Hashable, Sendable {
        /// The ledger now says what is really there.
        case repaired
        /// Another worker has claimed the import, or another program has changed its row. Nothing was changed.
        case claimedByOther
    }

    /// Corrects what the ledger says about the storage of an import: location, provider, metadata and index. Reads all
    /// records for that. Changes neither rows nor objects.
    /// - Parameter found: an import for which ``verify(_:progress:)`` has found only problems that are repairable or no damage.
    /// - Throws: ``ImportError/damaged(_:)`` if the truth is no longer certain; nothing was changed then.
    public func repair(_ found: Import) async throws(ImportError) -> RepairOutcome {
        let mover = ImportMover(self.service)
        guard let claimed = try await mover.claim(found.id) else { return .claimedByOther }
        // The claim has changed the provider; the location must still be the one that was verified.
        guard claimed.location == found.location else {
            _ = try? await self.service.ledger.extend(claimed.id, claim: claimed.claim, seconds: 0)
            return .claimedByOther
        }
        let isDone = try await mover.withClaim(on: claimed) { () async throws(ImportError) -> Bool in
            let real = try await self.service.rowsInPlaceOfObject(of: claimed) ?? claimed
            let provider = real.location == nil ? self.service.records.provider : try self.service.objectStore(of: real).provider
            let result = try await self.contents(of: real)
            // The correction replaces what the ledger knows of an object with more records.
            try await mover.requireAllRecords(result.storage.recordCount, of: claimed)
            do throws(StoreError) {
                return try await self.service.ledger.correct(
                    claimed.id, claim: claimed.claim, from: claimed.location, to: real.location, provider: provider, result)
            } catch {
                throw .store(error)
            }
        }
        self.service.forget(claimed.id)
        return isDone ? .repaired : .claimedByOther
    }

    /// Reads all records of an import, and describes them for the ledger.
    /// - Throws: ``ImportError/damaged(_:)`` if they differ from what the ledger says about these records.
    private func contents(of entry: Import) async throws(ImportError) -> ImportResult {
        let index = try await self.service.index(of: entry)
        let pieces = try self.service.pieces(of: entry)
        let hashing: HashingDownload?
        let document: ImportDocument
        if let location = entry.location {
            let download = HashingDownload(
                try await self.service.download(location, of: entry, range: nil), self.service.codec)
            hashing = download
            document = ImportDocument(download, index: index, pieces: pieces, codec: self.service.codec)
        } else {
            hashing = nil
            document = ImportDocument(
                rows: self.service.records, of: entry.id, atLeast: pieces == nil ? nil : entry.totalRecords, pieces: pieces,
                codec: self.service.codec)
        }
        let pages = RecordPageIterator(document, limits: .stored)
        let content = self.service.codec.makeHash()
        var (count, bytes) = (0, 0)
        while var page = try await pages.next() {
            page.hash(into: content)
            count += page.records.count
            if pages.isComplete { page.close() }
            bytes += page.text.count
        }
        let storage = StorageMetadata(
            location: entry.location, bucket: entry.location == nil ? nil : self.service.objects?.bucket,
            sizeBytes: hashing?.info.size ?? bytes, originalSizeBytes: bytes, recordCount: count, dataHash: hashing?.finish(),
            contentHash: content.finish())
        try self.compare(storage, with: entry)
        return ImportResult(
            storage: storage, fieldSummary: entry.fieldSummary ?? pages.summary.json, index: index, samples: [],
            requestHash: nil, encryption: entry.encryption)
    }

    /// Compares what was read with what the ledger says about the same records.
    private func compare(_ storage: StorageMetadata, with entry: Import) throws(ImportError) {
        if let total = entry.totalRecords, total != storage.recordCount {
            throw .damaged("There are \(storage.recordCount) records instead of the \(total) in the ledger (total_records).")
        }
        guard let recorded = entry.storage, entry.location.map({ recorded.concerns($0) }) ?? true else { return }
        if !recorded.contentHash.isEmpty, recorded.contentHash != storage.contentHash {
            throw .damaged("The SHA-256 of the records differs from the ledger (content_hash).")
        }
        if let hash = recorded.dataHash, let found = storage.dataHash, hash != found {
            throw .damaged("The SHA-256 of the object differs from the ledger (data_hash).")
        }
    }
}
