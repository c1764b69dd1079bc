/// Moves imports between rows and objects. The source is deleted only after the copy was read back and compared.
/// Claims ensure that two movers never work on one import, and that a mover whose claim expired changes nothing.
public struct ImportMover: Sendable {
    /// The outcome of moving one import.
    public enum Outcome: Hashable, Sendable {
        /// The records were moved.
        /// - Parameter bytes: size of the new object, or of the uncompressed document if the target is rows.
        case moved(records: Int, bytes: Int)
        /// The records are already stored in the target.
        case alreadyMoved
        /// Another worker has claimed the import, or the import is not `stored`. Retry later.
        case claimedByOther
        /// Rows were added, deleted or changed during each of three attempts to copy them. Nothing was moved.
        case changedConcurrently
    }

    /// Maximum number of attempts to copy rows that change during each attempt.
    private static let attempts = 3

    let service: ImportService

    public init(_ service: ImportService) { self.service = service }

    // MARK: Rows to object

    /// Moves an import from rows to an object.
    /// - Parameter progress: called with the number of records copied so far.
    public func moveToObjects(
        _ id: ImportID, progress: @escaping @Sendable (Int) -> Void
    ) async throws(ImportError) -> Outcome {
        guard self.service.objects != nil else {
            throw .objects(.rejected("no object store is configured, so imports cannot be moved to objects"))
        }
        for _ in 0..<Self.attempts {
            guard let entry = try await self.claim(id) else { return .claimedByOther }
            let outcome = try await self.withClaim(on: entry) { () async throws(ImportError) -> Outcome? in
                guard entry.location == nil else { return .alreadyMoved }
                return try await self.copyToObject(entry, progress)
            }
            if let outcome { return outcome }
        }
        return .changedConcurrently
    }

    /// Copies the rows to an object and makes the object the import's storage.
    /// - Returns: `nil` if the rows changed during the copy.
    private func copyToObject(
        _ entry: Import, _ progress: @Sendable (Int) -> Void
    ) async throws(ImportError) -> Outcome? {
        guard let objects = self.service.objects else { return .alreadyMoved }
        let old = try self.service.pieces(of: entry)
        let before = try await self.digest(of: entry)
        if let problem = try await self.missingRows(of: entry) { throw .damaged(problem) }
        let key = entry.movedObjectKey
        let upload: any ObjectUpload
        do throws(ObjectError) {
            upload = try await objects.upload(key, .of(entry, recordCount: before.count))
        } catch {
            throw .objects(error)
        }
        let pieces = self.service.newPieces(for: entry)
        let sink = ObjectSink(upload, bucket: objects.bucket, codec: self.service.codec, pieces: pieces)
        let rows = ImportDocument(
            rows: self.service.records, of: entry.id, atLeast: old == nil ? nil : entry.totalRecords, pieces: old,
            codec: self.service.codec)
        var copy: Copy
        do throws(ImportError) {
            copy = try await self.copy(RecordPageIterator(rows, limits: .stored), to: sink, progress)
        } catch {
            _ = await sink.abort()
            throw error
        }
        copy.result.replacesSamples = pieces != nil || old != nil
        copy.result.storage.location = key
        #if DEBUG
        await Failpoint.reach(.moveCopied)
        #endif
        do throws(ImportError) {
            try await self.compare(copy, at: key, objects)
        } catch {
            try await self.delete(key, objects)
            throw error
        }
        #if DEBUG
        await Failpoint.reach(.moveVerified)
        #endif
        // One transaction compares the rows with the digest, deletes all but the sample rows, and switches the ledger to
        // the object. If the rows have changed, it changes nothing.
        let isMoved: Bool
        do throws(StoreError) {
            isMoved = try await self.service.records.switchToObject(
                entry.id, claim: entry.claim, location: key, provider: objects.provider, expecting: before, copy.result)
        } catch {
            // Keep the object: the switch may have been committed, and then the ledger refers to the object. If
            // the ledger does not refer to it, the import sweep deletes it.
            throw .store(error)
        }
        guard isMoved else {
            try await self.delete(key, objects)
            return nil
        }
        #if DEBUG
        await Failpoint.reach(.moveCommitted)
        #endif
        self.service.forget(entry.id)
        return .moved(records: copy.result.storage.recordCount, bytes: copy.result.storage.sizeBytes)
    }

    // MARK: Object to rows

    /// Moves an import from an object to rows.
    /// - Parameter progress: called with the number of records copied so far.
    public func moveToRows(_ id: ImportID, progress: @escaping @Sendable (Int) -> Void) async throws(ImportError) -> Outcome {
        guard let entry = try await self.claim(id) else { return .claimedByOther }
        return try await self.withClaim(on: entry) { () async throws(ImportError) -> Outcome in
            guard let location = entry.location else { return .alreadyMoved }
            return try await self.copyToRows(entry, location, progress)
        }
    }

    /// Copies the object's records to rows and makes these the import's storage. If the copy is damaged, deletes the
    /// rows.
    private func copyToRows(
        _ entry: Import, _ location: String, _ progress: @Sendable (Int) -> Void
    ) async throws(ImportError) -> Outcome {
        // Before rows are deleted: without the import key nothing can be moved.
        _ = try self.service.pieces(of: entry)
        // Without the object, the rows may be the only records: see `ImportService.rowsInPlaceOfObject(of:)`.
        guard try await self.service.hasObject(location, of: entry) else {
            throw .damaged(
                "The import's object \(location) does not exist in the object store. `flowhub imports verify` says what to do.")
        }
        try await self.requireRoomForRows(of: entry)
        // Delete the rows that an interrupted attempt left.
        try await self.service.requiringClaim { () async throws(StoreError) in
            try await self.service.records.removeRecords(of: entry.id, claim: entry.claim)
        }
        do throws(ImportError) {
            return try await self.fillRows(entry, location, progress)
        } catch {
            // After any error but `damaged` the rows stay: the switch may have been committed, and then they are the import's
            // storage. If it was not, the next attempt deletes them.
            if case .damaged = error { _ = try? await self.service.records.removeRecords(of: entry.id, claim: entry.claim) }
            throw error
        }
    }

    /// Throws if the database has rows of another program that the object's records would replace, or that could not be read
    /// behind them.
    private func requireRoomForRows(of entry: Import) async throws(ImportError) {
        let counts = try await self.service.rowCounts(of: entry)
        guard counts.foreign == 0 else {
            throw .damaged(
                "The database has \(counts.foreign) rows of the import besides its object that another program has numbered "
                    + "(record_index), and the object's records would take their places. If the object has these records, delete "
                    + "the rows. If not, set their record_index to NULL: the move then adds them after the object's records.")
        }
        guard self.service.newPieces(for: entry) != nil else { return }
        // Another program's rows would stay behind the encrypted ones, and nothing could be read any more.
        let extra = counts.rows - max(counts.numbered, counts.samples)
        guard extra <= 0 else {
            throw .damaged(
                "The database has \(extra) rows of the import besides its object, which are not encrypted. Move it with a "
                    + "key file in which every key is marked decrypts, or delete these rows.")
        }
    }

    /// Writes the rows, reads them back, switches the ledger to them, and deletes the object.
    /// - Throws: ``ImportError/damaged(_:)`` if the object or the rows do not have the expected content hash.
    private func fillRows(
        _ entry: Import, _ location: String, _ progress: @Sendable (Int) -> Void
    ) async throws(ImportError) -> Outcome {
        let sink = RowSink(self.service.records, entry, pieces: self.service.newPieces(for: entry))
        let document = try await self.service.document(of: entry)
        let copy = try await self.copy(RecordPageIterator(document, limits: .stored), to: sink, progress)
        if let hash = entry.storage?.contentHash, !hash.isEmpty, hash != copy.result.storage.contentHash {
            throw .damaged("The SHA-256 of the records in the object differs from the ledger (content_hash).")
        }
        try await self.requireAllRecords(copy.result.storage.recordCount, of: entry)
        #if DEBUG
        await Failpoint.reach(.moveCopied)
        #endif
        // Read back only as many rows as were copied: rows that the legacy service has added follow them.
        let count = copy.result.storage.recordCount
        let rows = ImportDocument(
            rows: self.service.records, of: entry.id, atLeast: sink.pieces == nil ? nil : count, pieces: sink.pieces,
            codec: self.service.codec)
        let back = try await self.read(RecordPageIterator(rows, limits: .stored), upTo: count)
        guard back.count == count, back.hash == copy.result.storage.contentHash else {
            throw .damaged("The rows that were copied from the object differ from it when they are read back.")
        }
        #if DEBUG
        await Failpoint.reach(.moveVerified)
        #endif
        try await self.service.requiringClaim { () async throws(StoreError) in
            try await self.service.records.switchToRows(entry.id, claim: entry.claim, count: count, copy.result)
        }
        #if DEBUG
        await Failpoint.reach(.moveCommitted)
        #endif
        self.service.forget(entry.id)
        await self.deleteReplaced(location)
        return .moved(records: count, bytes: copy.result.storage.originalSizeBytes)
    }

    /// Deletes an object that is no longer an import's storage. If that fails, the import sweep deletes it. An object that
    /// another program has given to a second import stays.
    func deleteReplaced(_ location: String) async {
        if let objects = self.service.objects, (try? await self.service.maintenance.isReferenced(location)) == false {
            try? await objects.delete(location)
        }
    }

    /// Throws if there are fewer records than the object has that a hub has written last for the import.
    func requireAllRecords(_ count: Int, of entry: Import) async throws(ImportError) {
        if let counted = try await self.service.recordsOfHubObject(of: entry), counted > count {
            throw .damaged(
                "It has \(count) records instead of the \(counted) that a hub has stored. "
                    + "`flowhub imports verify` says what to do.")
        }
    }

    /// Why an import must not be moved to an object because its rows are not all of its records; `nil` if they may be.
    func missingRows(of entry: Import) async throws(ImportError) -> String? {
        let counts = try await self.service.rowCounts(of: entry)
        let isCounted = entry.storage.map { !$0.contentHash.isEmpty } ?? false
        guard let total = entry.totalRecords, counts.isIncomplete(total, isCounted: isCounted) else { return nil }
        return "It has \(counts.rows) rows instead of the \(total) records in the ledger (total_records). "
            + "`flowhub imports verify` says what to do."
    }

    // MARK: Copying

    /// A copy that was written and is not the import's storage yet.
    struct Copy: Sendable {
        /// The sizes, hashes, counts, index, sample rows and encryption of the copy, which are passed to the switch.
        var result: ImportResult
        /// The decryption of the copy; `nil` if it is not encrypted.
        var pieces: ImportPieces?
    }

    /// Writes all records of the pages to the sink and finishes it.
    /// - Parameter progress: called with the number of records copied so far.
    func copy(
        _ pages: RecordPageIterator, to sink: any ImportSink, _ progress: (Int) -> Void
    ) async throws(ImportError) -> Copy {
        let content = self.service.codec.makeHash()
        var (count, documentBytes) = (0, 0)
        var samples: [JSONText] = []
        do {
            while var page = try await pages.next() {
                page.hash(into: content)
                for range in page.records.prefix(Import.sampleRows - samples.count) {
                    samples.append(JSONText(unchecked: Array(page.text[range])))
                }
                count += page.records.count
                if pages.isComplete { page.close() }
                documentBytes += page.text.count
                try await sink.write(page)
                progress(count)
            }
            let stored = try await sink.finish()
            let storage = StorageMetadata(
                bucket: stored.bucket, sizeBytes: stored.storedBytes, originalSizeBytes: documentBytes, recordCount: count,
                dataHash: stored.dataHash, contentHash: content.finish())
            return Copy(
                result: ImportResult(
                    storage: storage, fieldSummary: pages.summary.json, index: stored.index,
                    samples: sink.pieces?.sealSamples(samples) ?? samples, requestHash: nil,
                    encryption: sink.pieces?.encryption), pieces: sink.pieces)
        } catch let error as ImportError {
            throw error
        } catch {
            throw .damaged("The records could not be copied: \(error).")
        }
    }

    /// Reads the whole new object back and compares its records and hashes with what was written.
    /// - Throws: ``ImportError/damaged(_:)`` if they differ.
    func compare(_ copy: Copy, at key: String, _ objects: any ObjectStore) async throws(ImportError) {
        let download: any ObjectDownload
        do throws(ObjectError) { download = try await objects.download(key, range: nil) } catch { throw .objects(error) }
        let hashing = HashingDownload(download, self.service.codec)
        let document = ImportDocument(
            hashing, index: copy.result.index, pieces: copy.pieces, codec: self.service.codec)
        let back = try await self.read(RecordPageIterator(document, limits: .stored), upTo: .max)
        let storage = copy.result.storage
        guard back.count == storage.recordCount, back.hash == storage.contentHash, hashing.finish() == storage.dataHash else {
            throw .damaged("The object that was copied from the rows differs from them when it is read back.")
        }
    }

    /// Reads the first records, at most `limit`.
    /// - Returns: their number and their content hash.
    func read(_ pages: RecordPageIterator, upTo limit: Int) async throws(ImportError) -> (count: Int, hash: String) {
        let content = self.service.codec.makeHash()
        var count = 0
        while count < limit, let page = try await pages.next() {
            page.hash(into: content, upTo: limit - count)
            count += min(page.records.count, limit - count)
        }
        return (count, content.finish())
    }

    // MARK: Claims

    /// Claims a stored import.
    /// - Returns: the import with its new claim; `nil` if another worker has claimed it, or its status is not `stored`.
    func claim(_ id: ImportID) async throws(ImportError) -> Import? {
        do throws(StoreError) {
            return try await self.service.ledger.claim(
                id, from: [.stored], to: nil, seconds: self.service.configuration.claimSeconds)
        } catch {
            throw .store(error)
        }
    }

    /// Runs the body while the claim is renewed, then releases the claim.
    /// - Throws: the body's error, or ``ImportError/claimLost``.
    func withClaim<Value: Sendable>(
        on entry: Import, _ body: @escaping @Sendable () async throws(ImportError) -> Value
    ) async throws(ImportError) -> Value {
        let result: Result<Value, any Error>
        do {
            result = .success(
                try await withTaskExecutorPreference(self.service.executor) {
                    try await self.service.withClaim(on: entry) { try await body() }
                })
        } catch {
            result = .failure(error)
        }
        // If the claim was released or lost already, this changes nothing.
        _ = try? await self.service.ledger.extend(entry.id, claim: entry.claim, seconds: 0)
        switch result {
        case .success(let value): return value
        case .failure(let error as ImportError): throw error
        case .failure(let error): throw .damaged("The import could not be moved: \(error).")
        }
    }

    /// Count and sum of hashes of all rows of an import, by which a later change of the rows is detected.
    private func digest(of entry: Import) async throws(ImportError) -> RowDigest {
        do throws(StoreError) { return try await self.service.records.digest(of: entry.id) } catch { throw .store(error) }
    }

    /// Deletes an object, also if the caller's task is cancelled.
    func delete(_ key: String, _ objects: any ObjectStore) async throws(ImportError) {
        // In a separate task: the caller's task may be cancelled because the claim was lost.
        let result = await Task { () async -> Result<Void, ObjectError> in
            do throws(ObjectError) { return .success(try await objects.delete(key)) } catch { return .failure(error) }
        }.value
        do throws(ObjectError) { try result.get() } catch { throw .objects(error) }
    }
}

extension ImportService {
    /// Runs a change of a claimed import. The body makes the change, and returns `false` if it changed nothing because
    /// another worker has claimed the import since.
    /// - Throws: ``ImportError/claimLost`` if the body returns `false`.
    func requiringClaim(_ body: () async throws(StoreError) -> Bool) async throws(ImportError) {
        let claimHeld: Bool
        do throws(StoreError) { claimHeld = try await body() } catch { throw .store(error) }
        guard claimHeld else { throw .claimLost }
    }
}

extension ImportLimits {
    /// Limits for reading stored records. They are far above the defaults, so that no record that was stored is
    /// rejected.
    static var stored: ImportLimits {
        var limits = ImportLimits()
        limits.recordBytes = 1 << 30
        limits.jsonDepth = JSONLimits.greatestDepth
        limits.numberLength = 1 << 20
        return limits
    }
}
