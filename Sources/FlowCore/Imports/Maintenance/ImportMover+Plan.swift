extension ImportMover {
    /// What moving an import would do, found without changing anything.
    public enum Plan: Hashable, Sendable {
        /// The records would be moved.
        /// - Parameter bytes: size of the object to be read; `nil` if the records are rows.
        case move(records: Int, bytes: Int?)
        /// Another worker has claimed the import.
        case claimedByOther
    }

    /// What moving an import to the other kind of storage would do. Counts the rows, or looks for the object; reads the object
    /// only if the ledger does not say how many records it has.
    /// - Parameter entry: a stored import that is not in the destination yet.
    /// - Throws: ``ImportError/damaged(_:)`` if the import would not be moved; ``ImportError/keyMissing(_:)`` or
    ///   ``ImportError/keyDiffers(_:)`` without its import key.
    public func plan(_ entry: Import) async throws(ImportError) -> Plan {
        if let until = entry.claimedUntil, until > self.service.now() { return .claimedByOther }
        _ = try self.service.pieces(of: entry)
        guard let location = entry.location else {
            if let problem = try await self.missingRows(of: entry) { throw .damaged(problem) }
            return .move(records: try await self.service.rowCounts(of: entry).rows, bytes: nil)
        }
        let objects = try self.service.objectStore(of: entry)
        let found: ObjectInfo?
        do throws(ObjectError) {
            found = try await objects.head(location)
        } catch .invalid {
            found = nil
        } catch {
            throw .objects(error)
        }
        guard let found else { throw .damaged("The import's object \(location) does not exist in the object store.") }
        if let storage = entry.storage, storage.concerns(location), storage.sizeBytes == found.size {
            return .move(records: storage.recordCount, bytes: found.size)
        }
        let pages = RecordPageIterator(try await self.service.document(of: entry), limits: .stored)
        return .move(records: try await self.read(pages, upTo: .max).count, bytes: found.size)
    }
}
