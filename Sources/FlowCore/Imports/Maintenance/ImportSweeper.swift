/// Finds what nothing refers to, and what refers to nothing. Removes the former, names the latter.
public struct ImportSweeper: Sendable {
    public struct Report: Hashable, Sendable {
        /// Imports that a process left half done.
        public var abandoned = 0
        /// Objects that were looked at.
        public var objects = 0
        /// Objects that no import names.
        public var orphans: [ObjectInfo] = []
        /// Uploads that nobody will finish.
        public var uploads: [UnfinishedUpload] = []
        /// Imports whose object is not there.
        public var dangling: [ImportID] = []

        public init() {}

        /// Whether so much belongs to nobody that this may be the wrong database for the bucket.
        public var isSuspicious: Bool { self.orphans.count > 10 && self.orphans.count * 2 > self.objects }
    }

    private static let slice = 1_000
    private static let root = "imports/"
    /// Where ``StorageHealth`` tries out the store.
    private static let probes = "health-check/"

    private let service: ImportService

    public init(_ service: ImportService) { self.service = service }

    /// - Parameters:
    ///   - seconds: what is younger is left alone.
    ///   - isDry: finds and names, and removes nothing.
    public func sweep(olderThan seconds: Int64, isDry: Bool) async throws(ImportError) -> Report {
        var report = Report()
        if !isDry { report.abandoned = await self.service.sweepAbandoned() }
        guard let objects = self.service.objects else { return report }
        let limit = self.service.now().advanced(bySeconds: -seconds)
        for prefix in [Self.root, Self.probes] {
            let (seen, orphans) = try await self.orphans(prefix, before: limit, objects, isDry: isDry)
            report.objects += seen
            report.orphans += orphans
        }
        report.uploads = try await self.uploads(before: limit, isDry: isDry)
        report.dangling = try await self.dangling(objects)
        return report
    }

    private func orphans(
        _ prefix: String, before limit: Timestamp, _ objects: any ObjectStore, isDry: Bool
    ) async throws(ImportError) -> (seen: Int, orphans: [ObjectInfo]) {
        var seen = 0
        var found: [ObjectInfo] = []
        var after: String?
        while true {
            let page: ObjectList
            do throws(ObjectError) {
                page = try await objects.list(prefix: prefix, after: after, limit: Self.slice)
            } catch {
                throw .objects(error)
            }
            seen += page.objects.count
            for object in page.objects where object.lastModified < limit {
                guard try await !self.isReferenced(object.key) else { continue }
                let removed = try await self.untouched(object.key, sparing: object.key, isDry: isDry) {
                    () async throws(ObjectError) in
                    try await objects.delete(object.key)
                }
                if removed { found.append(object) }
            }
            guard page.hasMore, let last = page.objects.last else { return (seen, found) }
            after = last.key
        }
    }

    private func uploads(before limit: Timestamp, isDry: Bool) async throws(ImportError) -> [UnfinishedUpload] {
        guard let housekeeping = self.service.housekeeping else { return [] }
        var found: [UnfinishedUpload] = []
        for prefix in [Self.root, Self.probes] {
            let uploads: [UnfinishedUpload]
            do throws(ObjectError) { uploads = try await housekeeping.unfinishedUploads(prefix: prefix) } catch {
                throw .objects(error)
            }
            for upload in uploads where upload.initiatedAt < limit {
                let removed = try await self.untouched(upload.key, isDry: isDry) { () async throws(ObjectError) in
                    try await housekeeping.abort(upload)
                }
                if removed { found.append(upload) }
            }
        }
        return found
    }

    private func dangling(_ objects: any ObjectStore) async throws(ImportError) -> [ImportID] {
        var found: [ImportID] = []
        var after: ImportID?
        while true {
            let page: [Import]
            do throws(StoreError) { page = try await self.service.chores.imports(after: after, limit: Self.slice) } catch {
                throw .store(error)
            }
            for entry in page where entry.status == .stored && entry.provider == objects.provider {
                guard let location = entry.location else { continue }
                do throws(ObjectError) {
                    guard try await objects.head(location) == nil else { continue }
                } catch {
                    throw .objects(error)
                }
                // It may have been moved or deleted since the page was read.
                do throws(StoreError) {
                    let now = try await self.service.ledger.load(entry.id)
                    if now?.status == .stored, now?.location == location { found.append(entry.id) }
                } catch {
                    throw .store(error)
                }
            }
            guard page.count == Self.slice, let last = page.last else { return found }
            after = last.id
        }
    }

    // MARK: Private

    private func isReferenced(_ key: String) async throws(ImportError) -> Bool {
        do throws(StoreError) { return try await self.service.chores.isReferenced(key) } catch { throw .store(error) }
    }

    /// Runs the body if nobody works on the import whose folder the key is in; whoever worked on it and was taken for dead
    /// finds its claim gone.
    /// - Parameter location: not if that is where the import is by now. An upload that nobody finished under the key of an
    ///   object that is there belongs to nobody.
    /// - Returns: whether it ran, or would have.
    private func untouched(
        _ key: String, sparing location: String? = nil, isDry: Bool, _ body: () async throws(ObjectError) -> Void
    ) async throws(ImportError) -> Bool {
        let segments = key.split(separator: "/")
        var claimed: Import?
        if segments.count >= 2, let id = ImportID(segments[segments.count - 2]) {
            do throws(StoreError) {
                if let entry = try await self.service.ledger.load(id) {
                    if isDry { return entry.claimedUntil.map { $0 <= self.service.now() } ?? true }
                    claimed = try await self.service.ledger.claim(
                        id, from: Set(Import.Status.allCases), to: nil, seconds: self.service.configuration.claimSeconds)
                    guard let now = claimed else { return false }
                    // Between the list and the claim it may have become what the import consists of.
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
        if !isDry { do throws(ObjectError) { try await body() } catch { failure = error } }
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
