extension ImportArchiver {
    // MARK: Exporting

    /// Exports an import, unless the archive has it already.
    /// - Parameters:
    ///   - isAnnounced: whether the import's event was published.
    ///   - progress: called with the number of records copied so far.
    /// - Throws: ``ImportError/damaged(_:)`` if the import differs from the ledger; it is not in the archive then.
    public func export(
        _ entry: Import, isAnnounced: Bool, progress: @escaping @Sendable (Int) -> Void
    ) async throws(ImportError) -> ExportOutcome {
        var (entry, isAnnounced) = (entry, isAnnounced)
        switch entry.status {
        case .deleting: return .deleted
        case .pending:
            guard entry.claimedUntil.map({ $0 <= self.service.now() }) ?? true else { return .inProgress }
            // Interrupted: what the import sweep would record and the hub of the new store then publishes.
            (entry.status, entry.failure, isAnnounced) = (.failed, ImportService.interruptedReason, false)
            entry.idempotencyKey = nil
        case .failed, .stored: break
        }
        let source = entry.json
        if let old = try await self.entry(entry.id), old.source == source, old.isAnnounced == isAnnounced,
            try await self.hasRecords(of: old)
        {
            return .upToDate(old)
        }
        try await self.remove(entry.id)
        var archived = ArchivedImport(entry: entry, isAnnounced: isAnnounced, index: nil, source: source)
        if entry.status == .stored {
            do {
                let from = entry
                let copy = try await withTaskExecutorPreference(self.service.executor) {
                    try await self.copyRecords(of: from, progress)
                }
                archived.entry.storage = copy.storage
                archived.entry.totalRecords = copy.storage.recordCount
                archived.entry.encryption = copy.encryption
                archived.entry.fieldSummary = entry.fieldSummary ?? copy.summary
                archived.index = copy.index
            } catch {
                throw error as? ImportError ?? .damaged("The records could not be copied: \(error).")
            }
        }
        try await self.write(archived)
        return .exported(archived)
    }

    /// Whether the archive has the import's records. An imported with unknown hash of its records may have changed since.
    private func hasRecords(of archived: ArchivedImport) async throws(ImportError) -> Bool {
        guard archived.entry.status == .stored else { return true }
        guard archived.source.member("storage_metadata")?.member("content_hash")?.stringValue?.isEmpty == false else {
            return false
        }
        let info: ObjectInfo?
        do throws(ObjectError) {
            info = try await self.archive.head(Self.recordsKey(archived.entry.id))
        } catch {
            throw .objects(error)
        }
        return info?.size == archived.entry.storage?.sizeBytes
    }

    /// What was written to the archive.
    private struct Copied: Sendable {
        var storage: StorageMetadata
        var summary: JSONText?
        var index: GzipMemberIndex
        var encryption: ImportEncryption?
    }

    /// Copies the records to the archive: the object byte for byte if the ledger knows its hashes, else record by record.
    /// - Throws: ``ImportError/damaged(_:)`` if they differ from the ledger.
    private func copyRecords(of entry: Import, _ progress: @Sendable (Int) -> Void) async throws -> Copied {
        let entry = try await self.service.rowsInPlaceOfObject(of: entry) ?? entry
        let key = Self.recordsKey(entry.id)
        if let location = entry.location {
            // Records that were added beside the object are part of neither copy.
            let rows = try await self.service.records.digest(of: entry.id).count
            let samples = try await self.service.ledger.samples(of: entry.id).count
            guard rows <= samples else {
                throw ImportError.damaged(
                    "It has \(rows - samples) extra rows in the database besides the object. "
                        + "`flowhub imports move --to postgres` merges them.")
            }
            if let storage = entry.storage, let hash = storage.dataHash, storage.isOfHub(for: location),
                entry.encryption?.isKnown != false, let index = try await self.service.index(of: entry)
            {
                let download = try await self.service.download(location, of: entry, range: nil)
                _ = try await Self.copyObject(
                    download, hash: hash, to: self.archive, key, ObjectAttributes(), self.service.codec)
                progress(storage.recordCount)
                var copied = storage
                (copied.location, copied.bucket, copied.storageClass) = (nil, nil, "STANDARD")
                return Copied(storage: copied, summary: nil, index: index, encryption: entry.encryption)
            }
        }
        let document = try await self.service.document(of: entry)
        // The archive has the records of an encrypted import encrypted, too.
        let pieces = try self.service.newPieces(like: entry)
        let sink = ObjectSink(
            try await self.archive.upload(key, ObjectAttributes()), bucket: self.archive.bucket, codec: self.service.codec,
            pieces: pieces)
        do {
            let pages = RecordPageIterator(document, limits: .stored)
            let result = try await ImportMover(self.service).copy(pages, to: sink, progress).result
            guard let index = result.index else { throw ImportError.damaged("The copy has no index.") }
            try Self.compare(result.storage, with: entry)
            var storage = result.storage
            storage.bucket = nil
            return Copied(
                storage: storage, summary: result.fieldSummary, index: index, encryption: result.encryption)
        } catch {
            await sink.abort()
            try await self.archive.delete(key)
            throw error
        }
    }

    /// Compares a copy's count and content hash with a ledger entry, as far as that has them.
    private static func compare(_ copy: StorageMetadata, with entry: Import) throws {
        if let total = entry.totalRecords, total != copy.recordCount {
            throw ImportError.damaged("It has \(copy.recordCount) records instead of the \(total) in the ledger (total_records).")
        }
        if let hash = entry.storage?.contentHash, !hash.isEmpty, hash != copy.contentHash {
            throw ImportError.damaged("The SHA-256 of its records differs from the ledger (content_hash).")
        }
    }

    // MARK: Restoring

    /// Writes an import's records to the store, compares them, and makes the import `stored`.
    /// - Parameter entry: the import as it was inserted, claimed.
    func fill(_ entry: Import, _ archived: ArchivedImport, _ progress: @Sendable (Int) -> Void) async throws {
        guard let storage = archived.entry.storage, let index = archived.index else { throw ImportError.notFound }
        var result = ImportResult(
            storage: storage, fieldSummary: entry.fieldSummary ?? .emptyObject, index: index, samples: [],
            requestHash: entry.requestHash, encryption: archived.entry.encryption)
        let pieces = try self.service.pieces(of: archived.entry)
        let newPieces = self.service.newPieces(for: entry)
        if let objects = self.service.objects, let location = entry.location {
            guard pieces != nil || newPieces == nil else {
                // A key encrypts new imports, and the archive's records are not encrypted.
                let attributes = ObjectAttributes.of(entry, recordCount: storage.recordCount)
                let sink = ObjectSink(
                    try await objects.upload(location, attributes), bucket: objects.bucket, codec: self.service.codec,
                    pieces: newPieces)
                do {
                    result = try await self.transcode(archived, nil, to: sink, progress)
                } catch {
                    await sink.abort()
                    throw error
                }
                result.requestHash = entry.requestHash
                result.storage.location = location
                guard try await self.service.ledger.finish(entry.id, claim: entry.claim, result) else {
                    throw ImportError.claimLost
                }
                return
            }
            let attributes = ObjectAttributes.of(entry, copyOf: storage)
            _ = try await Self.copyObject(
                try await self.openRecords(of: archived), hash: storage.dataHash ?? "", to: objects, location, attributes,
                self.service.codec)
            progress(storage.recordCount)
            (result.storage.bucket, result.storage.location) = (objects.bucket, location)
            let samples = try await self.firstRecords(of: archived, pieces)
            result.samples = pieces?.sealSamples(samples) ?? samples
        } else {
            let sink = RowSink(self.service.records, entry, pieces: newPieces)
            let copy = try await self.transcode(archived, pieces, to: sink, progress)
            result.index = nil
            (result.storage, result.samples, result.encryption) = (copy.storage, copy.samples, copy.encryption)
        }
        guard try await self.service.ledger.finish(entry.id, claim: entry.claim, result) else { throw ImportError.claimLost }
    }

    /// Copies an import's records from the archive to the sink, record by record, and compares them.
    /// - Parameter pieces: the decryption of the archive's records.
    private func transcode(
        _ archived: ArchivedImport, _ pieces: ImportPieces?, to sink: any ImportSink, _ progress: (Int) -> Void
    ) async throws -> ImportResult {
        let document = ImportDocument(
            try await self.openRecords(of: archived), index: archived.index, pieces: pieces, codec: self.service.codec)
        let pages = RecordPageIterator(document, limits: .stored)
        var copy = try await ImportMover(self.service).copy(pages, to: sink, progress).result
        try Self.compare(copy.storage, with: archived.entry)
        copy.fieldSummary = archived.entry.fieldSummary ?? copy.fieldSummary
        return copy
    }

    /// Opens an import's records in the archive.
    private func openRecords(of archived: ArchivedImport) async throws(ImportError) -> any ObjectDownload {
        do throws(ObjectError) {
            return try await self.archive.download(Self.recordsKey(archived.entry.id), range: nil)
        } catch .notFound {
            throw .damaged("The archive has no records of import \(archived.entry.id).")
        } catch {
            throw .objects(error)
        }
    }

    /// The first ``Import/sampleRows`` records of an import in the archive.
    private func firstRecords(of archived: ArchivedImport, _ pieces: ImportPieces?) async throws(ImportError) -> [JSONText] {
        let document = ImportDocument(
            try await self.openRecords(of: archived), index: archived.index, pieces: pieces, codec: self.service.codec)
        let pages = RecordPageIterator(document, limits: .stored)
        var records: [JSONText] = []
        while records.count < Import.sampleRows, let page = try await pages.next() {
            for range in page.records.prefix(Import.sampleRows - records.count) {
                records.append(JSONText(unchecked: Array(page.text[range])))
            }
        }
        return records
    }

    /// Copies an object's bytes.
    /// - Parameter hash: their SHA-256 in hexadecimal.
    /// - Throws: ``ImportError/damaged(_:)`` if the bytes differ from the hash; the copy does not exist then.
    private static func copyObject(
        _ download: any ObjectDownload, hash: String, to store: any ObjectStore, _ key: String, _ attributes: ObjectAttributes,
        _ codec: any ImportCodec
    ) async throws -> ObjectInfo {
        let source = HashingDownload(download, codec)
        let upload = try await store.upload(key, attributes)
        do {
            while let part = try await source.next() { try await upload.write(part) }
            guard source.finish() == hash else {
                throw ImportError.damaged("The SHA-256 of the object differs from the ledger (data_hash).")
            }
            return try await upload.finish()
        } catch {
            await upload.abort()
            throw (error as? ObjectError).map { ImportError.objects($0) } ?? error
        }
    }
}
