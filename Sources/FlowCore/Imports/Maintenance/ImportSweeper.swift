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
            let (seen, orphans) = try await self.orphans(prefix, before: limit, objects, isDryRun: isDryRun)
            report.objects += seen
            report.orphans += orphans
        }
        report.uploads = try await self.uploads(before: limit, isDryRun: isDryRun)
        report.dangling = try await self.dangling(objects)
        return report
    }

    /// Deletes the objects under a prefix that were last modified before `limit` and that no import refers to.
    /// - Returns: the number of all objects under the prefix, and the orphans that were deleted, or would be without
    ///   `isDryRun`.
    private func orphans(
        _ prefix: String, before limit: Timestamp, _ objects: any ObjectStore, isDryRun: Bool
    ) async throws(ImportError) -> (seen: Int, orphans: [ObjectInfo]) {
        var seen = 0
        var found: [ObjectInfo] = []
        var after: String?
        while true {
            let page: ObjectList
            do throws(ObjectError) {
                page = try await objects.list(prefix: prefix, after: after, limit: Self.batchSize)
            } catch {
                throw .objects(error)
            }
            seen += page.objects.count
            for object in page.objects where object.lastModified < limit {
                guard try await !self.isReferenced(object.key) else { continue }
                let removed = try await self.ifUnclaimed(object.key, sparing: object.key, isDryRun: isDryRun) {
                    () async throws(ObjectError) in
                    try await objects.delete(object.key)
                }
                if removed { found.append(object) }
            }
            guard page.hasMore, let last = page.objects.last else { return (seen, found) }
            after = last.key
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

    /// The stored imports whose object does not exist.
    private func dangling(_ objects: any ObjectStore) async throws(ImportError) -> [ImportID] {
        var found: [ImportID] = []
        var after: ImportID?
        while true {
            let page: [Import]
            do throws(StoreError) { page = try await self.service.maintenance.imports(after: after, limit: Self.batchSize) } catch
            {
                throw .store(error)
            }
            for entry in page where entry.status == .stored && entry.provider == objects.provider {
                guard let location = entry.location else { continue }
                do throws(ObjectError) {
                    guard try await objects.head(location) == nil else { continue }
                } catch {
                    throw .objects(error)
                }
                // The import may have been moved or deleted since the ledger was read: read its entry again.
                do throws(StoreError) {
                    let now = try await self.service.ledger.load(entry.id)
                    if now?.status == .stored, now?.location == location { found.append(entry.id) }
                } catch {
                    throw .store(error)
                }
            }
            guard page.count == Self.batchSize, let last = page.last else { return found }
            after = last.id
        }
    }

    // MARK: Private

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
        let segments = key.split(separator: "/")
        var claimed: Import?
        if segments.count >= 2, let id = ImportID(segments[segments.count - 2]) {
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
