/// Exports imports to an archive, and restores them from it into another store. The archive is an object store with two
/// objects for each import, `imports/{id}/records.json.gz` and, written after it, `imports/{id}/import.json`; and at its end
/// `archive.json`. Both directions may be interrupted and repeated.
public struct ImportArchiver: Sendable {
    /// The outcome of exporting one import.
    public enum ExportOutcome: Sendable {
        case exported(ArchivedImport)
        /// The archive has it already, with the same records.
        case upToDate(ArchivedImport)
        /// The import is being deleted, and is not exported.
        case deleted
        /// The import is being uploaded. Export again when that has ended.
        case inProgress
    }

    /// The outcome of restoring one import.
    public enum RestoreOutcome: Hashable, Sendable {
        case restored
        /// The store has it already, with the same records.
        case alreadyPresent
        /// The store has another import with this id, or with this idempotency key. It is not changed.
        case conflict
        /// Another worker has claimed the store's import. Retry later.
        case claimedByOther
    }

    private static let totalsKey = "archive.json"
    private static let prefix = "imports/"
    private static let entrySuffix = "/import.json"

    let service: ImportService
    let archive: any ObjectStore
    private let restoration: any ImportRestoration

    public init(_ service: ImportService, restoration: any ImportRestoration, archive: any ObjectStore) {
        self.service = service
        self.archive = archive
        self.restoration = restoration
    }

    static func recordsKey(_ id: ImportID) -> String { "\(Self.prefix)\(id)/records.json.gz" }
    private static func entryKey(_ id: ImportID) -> String { Self.prefix + id.rawValue + Self.entrySuffix }

    // MARK: The archive

    /// The totals of a complete archive; `nil` if the archive is incomplete.
    public func totals() async throws(ImportError) -> ImportArchiveTotals? {
        try await self.read(Self.totalsKey).flatMap { ImportArchiveTotals($0) }
    }

    /// Marks the archive as complete.
    public func finish(_ totals: ImportArchiveTotals) async throws(ImportError) {
        try await self.write(totals.json, to: Self.totalsKey)
    }

    /// Marks the archive as incomplete until ``finish(_:)``.
    public func begin() async throws(ImportError) { try await self.delete(Self.totalsKey) }

    /// The ids of the imports in the archive, in order.
    public func ids() async throws(ImportError) -> [ImportID] {
        var ids: [ImportID] = []
        var after: String?
        while true {
            let page: ObjectList
            do throws(ObjectError) {
                page = try await self.archive.list(prefix: Self.prefix, after: after, limit: 1_000)
            } catch {
                throw .objects(error)
            }
            for object in page.objects where object.key.hasSuffix(Self.entrySuffix) {
                if let id = ImportID(object.key.dropFirst(Self.prefix.count).dropLast(Self.entrySuffix.count)) { ids.append(id) }
            }
            guard page.hasMore, let last = page.objects.last else { return ids }
            after = last.key
        }
    }

    /// The import with this id in the archive; `nil` if it has none.
    /// - Throws: ``ImportError/damaged(_:)`` if it cannot be read.
    public func entry(_ id: ImportID) async throws(ImportError) -> ArchivedImport? {
        guard let json = try await self.read(Self.entryKey(id)) else { return nil }
        guard let archived = ArchivedImport(json), archived.entry.id == id else {
            throw .damaged("The archive's description of import \(id) is invalid.")
        }
        return archived
    }

    /// Removes an import from the archive.
    public func remove(_ id: ImportID) async throws(ImportError) {
        // First the description, without which the records count for nothing.
        try await self.delete(Self.entryKey(id))
        try await self.delete(Self.recordsKey(id))
    }

    /// Writes an import's description, after its records.
    func write(_ archived: ArchivedImport) async throws(ImportError) {
        try await self.write(archived.json, to: Self.entryKey(archived.entry.id))
    }

    private func read(_ key: String) async throws(ImportError) -> JSONText? {
        do {
            let download = try await self.archive.download(key, range: nil)
            var bytes: [UInt8] = []
            while let part = try await download.next() { bytes += part }
            let limits = JSONLimits(maximumDepth: JSONLimits.greatestDepth, maximumNumberLength: .max)
            return try JSONText(validating: bytes, limits: limits)
        } catch ObjectError.notFound {
            return nil
        } catch let error as ObjectError {
            throw .objects(error)
        } catch {
            throw .damaged("The archive's file \(key) is not valid JSON.")
        }
    }

    private func write(_ json: JSONText, to key: String) async throws(ImportError) {
        try await self.delete(key)
        do throws(ObjectError) {
            let upload = try await self.archive.upload(key, ObjectAttributes(contentType: "application/json"))
            try await upload.write(json.bytes + [UInt8(ascii: "\n")])
            _ = try await upload.finish()
        } catch {
            throw .objects(error)
        }
    }

    private func delete(_ key: String) async throws(ImportError) {
        do throws(ObjectError) { try await self.archive.delete(key) } catch { throw .objects(error) }
    }

    // MARK: Restoring

    /// Restores an import of the archive into the store, with its id, time and idempotency key. It becomes visible when all
    /// its records are stored and compared. An existing import is never changed.
    /// - Parameter progress: called with the number of records copied so far.
    public func restore(
        _ archived: ArchivedImport, progress: @escaping @Sendable (Int) -> Void
    ) async throws(ImportError) -> RestoreOutcome {
        let id = archived.entry.id
        if let existing = try await self.load(id) {
            guard existing.status == .deleting else { return archived.isSame(as: existing) ? .alreadyPresent : .conflict }
            // Being deleted, or left by an interrupted restore.
            guard try await self.clear(existing) else { return .claimedByOther }
        }
        var entry = archived.entry
        entry.claim = 1
        let objects = self.service.storesAsObject(id, account: entry.account) ? self.service.objects : nil
        entry.provider = objects?.provider ?? self.service.records.provider
        if entry.status == .stored, objects != nil {
            entry.location = Import.objectKey(account: entry.account, createdAt: entry.createdAt, id: id)
        }
        try await self.refuseSharedObjects(of: entry)
        let isInserted: Bool
        do throws(StoreError) {
            isInserted = try await self.restoration.insert(
                entry, isAnnounced: archived.isAnnounced, claimSeconds: self.service.configuration.claimSeconds)
        } catch {
            throw .store(error)
        }
        guard isInserted else { return .conflict }
        guard entry.status == .stored else { return .restored }
        do {
            let begun = entry
            try await withTaskExecutorPreference(self.service.executor) {
                try await self.service.withClaim(on: begun) { try await self.fill(begun, archived, progress) }
            }
            return .restored
        } catch {
            // The next attempt, or a hub's import sweep, removes what was written.
            _ = try? await self.service.ledger.extend(id, claim: 1, seconds: 0)
            throw error as? ImportError ?? .damaged("The import could not be restored: \(error).")
        }
    }

    /// Throws if the object store has objects of the import already. They belong to the exported store, if both use the same
    /// bucket or directory: an import that was restored there would share its object, and the cleanup of one would delete that of
    /// the other.
    private func refuseSharedObjects(of entry: Import) async throws(ImportError) {
        guard entry.status == .stored, let objects = self.service.objects, let location = entry.location,
            let slash = location.lastIndex(of: "/")
        else { return }
        let found: ObjectList
        do throws(ObjectError) {
            found = try await objects.list(prefix: String(location[...slash]), after: nil, limit: 1)
        } catch {
            throw .objects(error)
        }
        guard found.objects.isEmpty else {
            throw .damaged(
                "The object store has objects of this import, which belong to the exported store. Use another bucket or directory."
            )
        }
    }

    private func load(_ id: ImportID) async throws(ImportError) -> Import? {
        do throws(StoreError) { return try await self.service.ledger.load(id) } catch { throw .store(error) }
    }

    /// Removes an import with the status `deleting`, once its claim has expired.
    /// - Returns: `false` if another worker keeps its claim.
    private func clear(_ entry: Import) async throws(ImportError) -> Bool {
        let seconds = self.service.configuration.claimSeconds
        let end = ContinuousClock.now + .seconds(seconds + 2)
        do {
            while true {
                let claimed = try await self.service.ledger.claim(entry.id, from: [.deleting], to: nil, seconds: seconds)
                if let claimed { return try await self.service.deleteEverything(claimed) }
                if try await self.load(entry.id) == nil { return true }
                guard ContinuousClock.now < end else { return false }
                try await Task.sleep(for: .milliseconds(200))
            }
        } catch let error as StoreError {
            throw .store(error)
        } catch let error as ObjectError {
            throw .objects(error)
        } catch {
            throw error as? ImportError ?? .claimLost
        }
    }
}

/// Insertion of imports that another store exported, for ``ImportArchiver``.
public protocol ImportRestoration: Sendable {
    /// Inserts an import with its id, time and idempotency key. A `failed` one is complete then. A `stored` one is inserted
    /// as `deleting` under the claim number 1: queries do not return it before ``ImportLedger/finish(_:claim:_:)``, and
    /// the import sweep removes it if that does not follow.
    /// - Parameter isAnnounced: whether the import's event was published.
    /// - Returns: whether the import was inserted; `false` if one with this id exists, or another one of the account has
    ///   its idempotency key.
    func insert(_ entry: Import, isAnnounced: Bool, claimSeconds: Int) async throws(StoreError) -> Bool
}
