/// Carries imports from rows to objects and back. Nothing is removed before its copy was read back and compared; two movers
/// never work on one import, and one that was taken for dead can do no harm when it wakes.
public struct ImportMover: Sendable {
    public enum Outcome: Hashable, Sendable {
        case moved(records: Int, bytes: Int)
        /// It is there already.
        case nothingToDo
        /// Somebody works on it. Try again later.
        case held
        /// Rows came, went or changed all the while. Nothing was moved.
        case unsteady
    }

    /// How often a copy is made anew because rows changed under it.
    private static let attempts = 3

    private let service: ImportService

    public init(_ service: ImportService) { self.service = service }

    // MARK: To objects

    /// - Parameter progress: told of records as they are copied.
    public func moveToObjects(
        _ id: ImportID, progress: @escaping @Sendable (Int) -> Void
    ) async throws(ImportError) -> Outcome {
        guard self.service.objects != nil else { throw .objects(.refused("no object store is configured")) }
        for _ in 0..<Self.attempts {
            guard let entry = try await self.claim(id) else { return .held }
            let outcome = try await self.working(on: entry) { () async throws(ImportError) -> Outcome? in
                guard entry.location == nil else { return .nothingToDo }
                return try await self.copyToObject(entry, progress)
            }
            if let outcome { return outcome }
        }
        return .unsteady
    }

    /// - Returns: `nil` if the rows changed under it.
    private func copyToObject(
        _ entry: Import, _ progress: @Sendable (Int) -> Void
    ) async throws(ImportError) -> Outcome? {
        guard let objects = self.service.objects else { return .nothingToDo }
        let before = try await self.digest(of: entry)
        let key = Import.objectKey(account: entry.account, createdAt: entry.createdAt, id: entry.id, claim: entry.claim)
        let upload: any ObjectUpload
        do throws(ObjectError) {
            upload = try await objects.upload(key, ObjectAttributes(metadata: ["import-id": entry.id.rawValue]))
        } catch {
            throw .objects(error)
        }
        let sink = ObjectSink(upload, bucket: objects.bucket, codec: self.service.codec)
        let rows = ImportDocument(rows: self.service.records, of: entry.id, codec: self.service.codec)
        let copy: Copy
        do throws(ImportError) {
            copy = try await self.copy(RecordPageIterator(rows, limits: .stored), to: sink, progress)
        } catch {
            _ = await sink.abort()
            throw error
        }
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
        // The rows that were copied, or none: in one transaction they are compared and removed.
        let isMoved: Bool
        do throws(StoreError) {
            isMoved = try await self.service.records.moveOut(
                entry.id, claim: entry.claim, location: key, provider: objects.provider, expecting: before, copy.result)
        } catch {
            // Where nobody knows, the object stays: either it is what the ledger names, or the sweep finds it.
            throw .store(error)
        }
        guard isMoved else {
            try await self.delete(key, objects)
            return nil
        }
        #if DEBUG
        await Failpoint.reach(.moveCommitted)
        #endif
        self.service.cache.remove(entry.id)
        return .moved(records: copy.result.storage.recordCount, bytes: copy.result.storage.sizeBytes)
    }

    // MARK: To rows

    public func moveToRows(_ id: ImportID, progress: @escaping @Sendable (Int) -> Void) async throws(ImportError) -> Outcome {
        guard let entry = try await self.claim(id) else { return .held }
        return try await self.working(on: entry) { () async throws(ImportError) -> Outcome in
            guard let location = entry.location else { return .nothingToDo }
            return try await self.copyToRows(entry, location, progress)
        }
    }

    private func copyToRows(
        _ entry: Import, _ location: String, _ progress: @Sendable (Int) -> Void
    ) async throws(ImportError) -> Outcome {
        // What an attempt that died left.
        try await self.service.keeping { () async throws(StoreError) in
            try await self.service.records.removeRecords(of: entry.id, claim: entry.claim)
        }
        do throws(ImportError) {
            return try await self.fillRows(entry, location, progress)
        } catch {
            // Where it cannot be said what became of the rows, they stay: the next attempt removes them.
            if case .damaged = error { _ = try? await self.service.records.removeRecords(of: entry.id, claim: entry.claim) }
            throw error
        }
    }

    private func fillRows(
        _ entry: Import, _ location: String, _ progress: @Sendable (Int) -> Void
    ) async throws(ImportError) -> Outcome {
        let sink = RowSink(self.service.records, entry)
        let document = try await self.service.document(of: entry)
        let copy = try await self.copy(RecordPageIterator(document, limits: .stored), to: sink, progress)
        if let hash = entry.storage?.contentHash, !hash.isEmpty, hash != copy.result.storage.contentHash {
            throw .damaged("The object's records are not those that the ledger knows.")
        }
        #if DEBUG
        await Failpoint.reach(.moveCopied)
        #endif
        // Read back from the rows; what other services added meanwhile comes behind them.
        let rows = ImportDocument(rows: self.service.records, of: entry.id, codec: self.service.codec)
        let count = copy.result.storage.recordCount
        let back = try await self.read(RecordPageIterator(rows, limits: .stored), upTo: count)
        guard back.count == count, back.hash == copy.result.storage.contentHash else {
            throw .damaged("What was written to the database is not what was read from the object.")
        }
        #if DEBUG
        await Failpoint.reach(.moveVerified)
        #endif
        try await self.service.keeping { () async throws(StoreError) in
            try await self.service.records.moveIn(entry.id, claim: entry.claim, count: count, copy.result)
        }
        #if DEBUG
        await Failpoint.reach(.moveCommitted)
        #endif
        self.service.cache.remove(entry.id)
        // Nothing refers to the object any more. If it cannot be removed now, the sweep does it.
        if let objects = self.service.objects { try? await objects.delete(location) }
        return .moved(records: count, bytes: copy.result.storage.originalSizeBytes)
    }

    // MARK: Copying

    struct Copy: Sendable {
        var result: ImportResult
    }

    private func copy(
        _ walk: RecordPageIterator, to sink: any ImportSink, _ progress: (Int) -> Void
    ) async throws(ImportError) -> Copy {
        let content = self.service.codec.makeHash()
        var (count, unpacked) = (0, 0)
        var samples: [JSONText] = []
        do {
            while var page = try await walk.next() {
                page.hash(into: content)
                for range in page.records.prefix(Import.sampleRows - samples.count) {
                    samples.append(JSONText(unchecked: Array(page.text[range])))
                }
                count += page.records.count
                if walk.isComplete { page.close() }
                unpacked += page.text.count
                try await sink.take(page)
                progress(count)
            }
            let stored = try await sink.finish()
            let storage = StorageMetadata(
                bucket: stored.bucket, sizeBytes: stored.storedBytes, originalSizeBytes: unpacked, recordCount: count,
                dataHash: stored.dataHash, contentHash: content.finish())
            return Copy(
                result: ImportResult(
                    storage: storage, fieldSummary: walk.summary.json, index: stored.index, samples: samples, requestHash: nil))
        } catch let error as ImportError {
            throw error
        } catch {
            throw .damaged("\(error)")
        }
    }

    /// Reads the object back, whole, and compares.
    private func compare(_ copy: Copy, at key: String, _ objects: any ObjectStore) async throws(ImportError) {
        let download: any ObjectDownload
        do throws(ObjectError) { download = try await objects.download(key, range: nil) } catch { throw .objects(error) }
        let hashing = HashingDownload(download, self.service.codec)
        let document = ImportDocument(hashing, index: copy.result.index, codec: self.service.codec)
        let back = try await self.read(RecordPageIterator(document, limits: .stored), upTo: .max)
        let storage = copy.result.storage
        guard back.count == storage.recordCount, back.hash == storage.contentHash, hashing.finish() == storage.dataHash else {
            throw .damaged("What was read back from the object store is not what was written.")
        }
    }

    private func read(_ walk: RecordPageIterator, upTo limit: Int) async throws(ImportError) -> (count: Int, hash: String) {
        let content = self.service.codec.makeHash()
        var count = 0
        while count < limit, let page = try await walk.next() {
            page.hash(into: content, upTo: limit - count)
            count += min(page.records.count, limit - count)
        }
        return (count, content.finish())
    }

    // MARK: Claims

    private func claim(_ id: ImportID) async throws(ImportError) -> Import? {
        do throws(StoreError) {
            return try await self.service.ledger.claim(
                id, from: [.stored], to: nil, seconds: self.service.configuration.claimSeconds)
        } catch {
            throw .store(error)
        }
    }

    /// Holds the claim meanwhile, and lets go of it.
    private func working<Value: Sendable>(
        on entry: Import, _ body: @escaping @Sendable () async throws(ImportError) -> Value
    ) async throws(ImportError) -> Value {
        let result: Result<Value, any Error>
        do {
            result = .success(
                try await withTaskExecutorPreference(self.service.executor) {
                    try await self.service.holding(entry) { try await body() }
                })
        } catch {
            result = .failure(error)
        }
        // One that has let go already, or lost it, changes nothing by this.
        _ = try? await self.service.ledger.extend(entry.id, claim: entry.claim, seconds: 0)
        switch result {
        case .success(let value): return value
        case .failure(let error as ImportError): throw error
        case .failure(let error): throw .damaged("\(error)")
        }
    }

    private func digest(of entry: Import) async throws(ImportError) -> RowDigest {
        do throws(StoreError) { return try await self.service.records.digest(of: entry.id) } catch { throw .store(error) }
    }

    private func delete(_ key: String, _ objects: any ObjectStore) async throws(ImportError) {
        // In a task of its own: the caller's may be cancelled, because the import is somebody else's by now.
        let result = await Task { () async -> Result<Void, ObjectError> in
            do throws(ObjectError) { return .success(try await objects.delete(key)) } catch { return .failure(error) }
        }.value
        do throws(ObjectError) { try result.get() } catch { throw .objects(error) }
    }
}

extension ImportService {
    /// Runs what changes a claimed import. - Throws: ``ImportError/takenOver`` if it says that the claim is not the last one.
    func keeping(_ body: () async throws(StoreError) -> Bool) async throws(ImportError) {
        let isMine: Bool
        do throws(StoreError) { isMine = try await body() } catch { throw .store(error) }
        guard isMine else { throw .takenOver }
    }
}

extension ImportLimits {
    /// For what is stored already: nothing of it may be refused.
    static var stored: ImportLimits {
        var limits = ImportLimits()
        limits.recordBytes = 1 << 30
        limits.jsonDepth = JSONLimits.greatestDepth
        limits.numberLength = 1 << 20
        return limits
    }
}
