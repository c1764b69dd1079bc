/// The import sweep as `flowhub imports sweep` runs it. It cleans up interrupted imports, deletes objects and
/// unfinished uploads that belong to no import, and reports imports whose object does not exist.
public struct ImportSweeper: Sendable {
    /// The result of one sweep.
    public struct Report: Hashable, Sendable {
        /// Number of interrupted imports that were cleaned up: marked failed, or deleted if a deletion was interrupted.
        public var abandoned = 0
        /// Number of objects that were listed.
        public var objects = 0
        /// Objects that no import refers to and that were deleted, or would be without `isDryRun`.
        public var orphans: [ObjectInfo] = []
        /// Unfinished uploads that no worker will complete and that were aborted, or would be without `isDryRun`.
        public var uploads: [UnfinishedUpload] = []
        /// Stored imports whose object does not exist.
        public var dangling: [ImportID] = []
        /// Objects that no import refers to and that stay, because an import may need them: its own object or rows are
        /// missing.
        public var needed: [ObjectInfo] = []
        /// Stored imports whose object could not be looked up, with the reason.
        public var unread: [ImportID: String] = [:]

        public init() {}

        /// Whether there are more than 10 orphans and more than half of all objects are orphans. The database may
        /// then not belong to this bucket.
        public var isSuspicious: Bool { self.orphans.count > 10 && self.orphans.count * 2 > self.objects }
    }

    /// Maximum number of objects that one list request returns, and of imports that one query returns.
    private static let batchSize = 1_000
    /// Prefix of the objects of imports.
    private static let root = "imports/"
    /// Prefix of the probe objects of ``StorageHealth``.
    private static let probes = "health-check/"

    private let service: ImportService

    public init(_ service: ImportService) { self.service = service }

    /// Runs one import sweep.
    /// - Parameters:
    ///   - seconds: minimum age of objects and unfinished uploads to delete.
    ///   - isDryRun: whether only to report what would be deleted, and to change nothing.
    public func sweep(olderThan seconds: Int64, isDryRun: Bool) async throws(ImportError) -> Report {
        var report = Report()
        if !isDryRun { report.abandoned = await self.service.sweepAbandoned() }
        guard let objects = self.service.objects else { return report }
        let limit = self.service.now().advanced(bySeconds: -seconds)
        for prefix in [Self.root, Self.probes] {
            try await self.sweepOrphans(prefix, before: limit, objects, isDryRun: isDryRun, &report)
        }
        report.uploads = try await self.uploads(before: limit, isDryRun: isDryRun)
        try await self.findDangling(&report)
        return report
    }

    /// Deletes the objects under a prefix that were last modified before `limit` and that no import refers to or needs. Adds
    /// to the report all objects under the prefix, and those that were deleted, or would be without `isDryRun`.
    private func sweepOrphans(
        _ prefix: String, before limit: Timestamp, _ objects: any ObjectStore, isDryRun: Bool, _ report: inout Report
    ) async throws(ImportError) {
        var after: String?
        while true {
            let page: ObjectList
            do throws(ObjectError) {
                page = try await objects.list(prefix: prefix, after: after, limit: Self.batchSize)
            } catch {
                throw .objects(error)
            }
            report.objects += page.objects.count
            for object in page.objects where object.lastModified < limit {
                // A key that the hub could not have made is another program's.
                guard (try? ObjectRules.check(key: object.key)) != nil, try await !self.isReferenced(object.key) else { continue }
                if try await self.isNeeded(object.key) {
                    report.needed.append(object)
                    continue
                }
                let removed = try await self.ifUnclaimed(object.key, sparing: object.key, isDryRun: isDryRun) {
                    () async throws(ObjectError) in
                    try await objects.delete(object.key)
                }
                if removed { report.orphans.append(object) }
            }
            guard page.hasMore, let last = page.objects.last else { return }
            // A list continues only after a key that the hub could have made.
            after = page.objects.last { (try? ObjectRules.check(key: $0.key)) != nil }?.key ?? last.key
        }
    }

    /// Aborts the unfinished uploads that were initiated before `limit` and whose import has no valid claim.
    /// - Returns: the uploads that were aborted, or would be without `isDryRun`.
    private func uploads(before limit: Timestamp, isDryRun: Bool) async throws(ImportError) -> [UnfinishedUpload] {
        guard let objectMaintenance = self.service.objectMaintenance else { return [] }
        var found: [UnfinishedUpload] = []
        for prefix in [Self.root, Self.probes] {
            let uploads: [UnfinishedUpload]
            do throws(ObjectError) { uploads = try await objectMaintenance.unfinishedUploads(prefix: prefix) } catch {
                throw .objects(error)
            }
            for upload in uploads where upload.initiatedAt < limit {
                let removed = try await self.ifUnclaimed(upload.key, isDryRun: isDryRun) { () async throws(ObjectError) in
                    try await objectMaintenance.abort(upload)
                }
                if removed { found.append(upload) }
            }
        }
        return found
    }

    /// Adds to the report the stored imports whose object does not exist, or could not be looked up.
    private func findDangling(_ report: inout Report) async throws(ImportError) {
        var after: ImportID?
        while true {
            let page: [Import]
            do throws(StoreError) { page = try await self.service.maintenance.imports(after: after, limit: Self.batchSize) } catch
            {
                throw .store(error)
            }
            for entry in page where entry.status == .stored {
                guard let location = entry.location else { continue }
                do throws(ImportError) {
                    if try await self.service.hasObject(location, of: entry) { continue }
                } catch {
                    guard await self.service.concernsOneImport(error, entry.id) else { throw error }
                    report.unread[entry.id] = error.description
                    continue
                }
                // The import may have been moved or deleted since the ledger was read: read its entry again.
                do throws(StoreError) {
                    let now = try await self.service.ledger.load(entry.id)
                    if now?.status == .stored, now?.location == location { report.dangling.append(entry.id) }
                } catch {
                    throw .store(error)
                }
            }
            guard page.count == Self.batchSize, let last = page.last else { return }
            after = last.id
        }
    }

    // MARK: Private

    /// Whether the object may have the only records of the import in whose folder it is: the import is stored, and its own
    /// object does not exist, has fewer records than a hub has counted or is not described, its rows are incomplete and the ledger
    /// names no object, or it is encrypted as another object than its own.
    private func isNeeded(_ key: String) async throws(ImportError) -> Bool {
        guard let id = Self.importID(in: key) else { return false }
        let found: Import?
        do throws(StoreError) { found = try await self.service.ledger.load(id) } catch { throw .store(error) }
        guard let entry = found, entry.status == .stored else { return false }
        if try await self.service.isEncryptedElsewhere(entry) { return true }
        guard let location = entry.location else {
            let isCounted = entry.storage.map { !$0.contentHash.isEmpty } ?? false
            return try await self.service.rowCounts(of: entry).isIncomplete(entry.totalRecords, isCounted: isCounted)
        }
        if let stored = entry.storage?.recordCount {
            if let counted = try await self.service.recordsOfHubObject(of: entry), counted > stored { return true }
        } else {
            // What another program has written does not say how many records the object at the location has.
            if entry.hasUnreadableStorage { return true }
            if try await self.service.recordsOfHubObject(of: entry) != nil { return true }
        }
        do throws(ImportError) {
            return try await !self.service.hasObject(location, of: entry)
        } catch {
            guard await self.service.concernsOneImport(error, id) else { throw error }
            return true
        }
    }

    /// The id of the import in whose folder the key is; `nil` if it is in no import's folder.
    private static func importID(in key: String) -> ImportID? {
        let segments = key.split(separator: "/")
        return segments.count >= 2 ? ImportID(segments[segments.count - 2]) : nil
    }

    /// Whether the object key is the location of an import.
    private func isReferenced(_ key: String) async throws(ImportError) -> Bool {
        do throws(StoreError) { return try await self.service.maintenance.isReferenced(key) } catch { throw .store(error) }
    }

    /// Runs the body under a claim on the import in whose folder the key is, unless another worker has claimed that
    /// import. Because of the claim, a worker whose own claim has expired can no longer make the object the import's
    /// storage. If no import belongs to the key, the body runs without a claim.
    /// - Parameter location: key of the object that the body deletes: the body does not run if the import now has this
    ///   location. `nil` if the body aborts an unfinished upload, which no import needs: an abort does not delete an
    ///   object that another upload has completed under the same key.
    /// - Returns: whether the body ran, or would have run without `isDryRun`.
    private func ifUnclaimed(
        _ key: String, sparing location: String? = nil, isDryRun: Bool, _ body: () async throws(ObjectError) -> Void
    ) async throws(ImportError) -> Bool {
        var claimed: Import?
        if let id = Self.importID(in: key) {
            do throws(StoreError) {
                if let entry = try await self.service.ledger.load(id) {
                    if isDryRun { return entry.claimedUntil.map { $0 <= self.service.now() } ?? true }
                    claimed = try await self.service.ledger.claim(
                        id, from: Set(Import.Status.allCases), to: nil, seconds: self.service.configuration.claimSeconds)
                    guard let now = claimed else { return false }
                    // The object may have become the import's storage after the check that no import refers to it.
                    if let location, now.location == location {
                        _ = try await self.service.ledger.extend(id, claim: now.claim, seconds: 0)
                        return false
                    }
                }
            } catch {
                throw .store(error)
            }
        }
        var failure: ObjectError?
        if !isDryRun { do throws(ObjectError) { try await body() } catch { failure = error } }
        if let claimed {
            do throws(StoreError) {
                _ = try await self.service.ledger.extend(claimed.id, claim: claimed.claim, seconds: 0)
            } catch {
                throw .store(error)
            }
        }
        if let failure { throw .objects(failure) }
        return true
    }
}
