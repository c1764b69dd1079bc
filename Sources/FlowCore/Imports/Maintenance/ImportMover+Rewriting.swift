extension ImportMover {
    // MARK: Object to object

    /// Writes an import's object anew, encrypted with the import key that encrypts new imports; not encrypted if none does.
    /// So an object is encrypted after the fact, a key can be given up, or encryption be undone.
    /// - Parameter progress: called with the number of records copied so far.
    /// - Returns: ``Outcome/alreadyMoved`` if the object is encrypted with that key, or the records are rows.
    public func rewriteObject(
        _ id: ImportID, progress: @escaping @Sendable (Int) -> Void
    ) async throws(ImportError) -> Outcome {
        guard let entry = try await self.claim(id) else { return .claimedByOther }
        return try await self.withClaim(on: entry) { () async throws(ImportError) -> Outcome in
            guard let location = entry.location, self.service.isUnderOtherKey(entry) else { return .alreadyMoved }
            return try await self.rewrite(entry, location, progress)
        }
    }

    /// Copies the object, reads the copy back, switches the ledger to it, and deletes the old object.
    /// - Throws: ``ImportError/damaged(_:)`` if the records are not those of the ledger, or the copy differs from them.
    private func rewrite(
        _ entry: Import, _ location: String, _ progress: @Sendable (Int) -> Void
    ) async throws(ImportError) -> Outcome {
        let objects = try self.service.objectStore(of: entry)
        let document = try await self.service.document(of: entry)
        let key = entry.movedObjectKey
        let upload: any ObjectUpload
        do throws(ObjectError) {
            upload = try await objects.upload(key, .of(entry, recordCount: entry.totalRecords))
        } catch {
            throw .objects(error)
        }
        let sink = ObjectSink(
            upload, bucket: objects.bucket, codec: self.service.codec, pieces: self.service.newPieces(for: entry))
        var copy: Copy
        do throws(ImportError) {
            copy = try await self.copy(RecordPageIterator(document, limits: .stored), to: sink, progress)
        } catch {
            _ = await sink.abort()
            throw error
        }
        #if DEBUG
        await Failpoint.reach(.moveCopied)
        #endif
        do throws(ImportError) {
            if let hash = entry.storage?.contentHash, !hash.isEmpty, hash != copy.result.storage.contentHash {
                throw .damaged("The SHA-256 of the records in the object differs from the ledger (content_hash).")
            }
            try await self.requireAllRecords(copy.result.storage.recordCount, of: entry)
            try await self.compare(copy, at: key, objects)
        } catch {
            try await self.delete(key, objects)
            throw error
        }
        (copy.result.location, copy.result.storage.location) = (key, key)
        if let summary = entry.fieldSummary { copy.result.fieldSummary = summary }
        #if DEBUG
        await Failpoint.reach(.moveVerified)
        #endif
        let result = copy.result
        // After an error the switch may have been made, so both objects stay; the import sweep deletes the one that the ledger
        // does not refer to.
        try await self.service.requiringClaim { () async throws(StoreError) in
            try await self.service.ledger.finish(entry.id, claim: entry.claim, result)
        }
        #if DEBUG
        await Failpoint.reach(.moveCommitted)
        #endif
        self.service.forget(entry.id)
        await self.deleteReplaced(location)
        return .moved(records: copy.result.storage.recordCount, bytes: copy.result.storage.sizeBytes)
    }
}
