import Logging
import Synchronization

extension ImportService {
    /// Interval between two rounds of maintenance: a quarter of the claim duration, but 1 to 15 s, so that expired
    /// claims are found soon.
    private var interval: Duration { .seconds(min(15, max(1, self.configuration.claimSeconds / 4))) }
    /// Maximum number of imports that each query of a round of maintenance returns.
    private static let batchSize = 100
    /// The failure of an import whose upload was interrupted.
    static let interruptedReason = "The import was interrupted and nothing was stored. Send it again."

    /// Runs import maintenance until the task is cancelled: cleans up interrupted imports and publishes import events
    /// that were not published. Every instance may run it. Claims and idempotency keys ensure that each action takes
    /// effect once.
    public func run() async {
        while !Task.isCancelled {
            await self.sweepAbandoned()
            try? await Task.sleep(for: self.interval)
        }
    }

    /// Runs one round of maintenance. Cleans up to 100 imports without a valid claim: a `pending` import is marked
    /// failed and its data is deleted; a `deleting` import is deleted completely. Then publishes the import events of
    /// up to 100 imports whose event was not published yet. An action that fails is logged. A cleanup that fails leaves its claim,
    /// and is repeated once that has expired and other imports had their turn.
    /// - Returns: the number of imports that were cleaned up.
    @discardableResult
    public func sweepAbandoned() async -> Int {
        var count = 0
        do throws(StoreError) {
            for entry in try await self.maintenance.abandoned(limit: Self.batchSize) where await self.sweepQuietly(entry) {
                count += 1
            }
            for entry in try await self.maintenance.unannounced(limit: Self.batchSize) { await self.publishOutcome(entry) }
        } catch {
            self.logger.notice("Import maintenance failed", metadata: ["error": "\(error)"])
        }
        self.metricsState.withLock { $0.swept += count }
        return count
    }

    /// Cleans up one abandoned import. Logs an error instead of throwing it.
    /// - Returns: whether the import was cleaned up.
    private func sweepQuietly(_ entry: Import) async -> Bool {
        do {
            return try await self.sweep(entry)
        } catch {
            self.logger.notice(
                "Failed to clean up interrupted import; will retry",
                metadata: ["import_id": "\(entry.id)", "error": "\(error)"])
            return false
        }
    }

    /// Claims an abandoned import and cleans it up: a `pending` import is marked failed and its data is deleted; a
    /// `deleting` import is deleted completely.
    /// - Returns: `false` if another worker has claimed the import.
    private func sweep(_ found: Import) async throws -> Bool {
        let claimed = try await self.ledger.claim(
            found.id, from: [.pending, .deleting], to: nil, seconds: self.configuration.claimSeconds)
        // Without a claim, leave the import: since the query another instance has claimed it, or the worker that
        // ingests it has renewed the expired claim.
        guard let entry = claimed else { return false }
        return try await self.withClaim(on: entry) {
            if entry.status == .deleting { return try await self.deleteEverything(entry) }
            try await self.removeObjects(of: entry)
            guard try await self.records.removeRecords(of: entry.id, claim: entry.claim) else { return false }
            let reason = Self.interruptedReason
            guard try await self.ledger.fail(entry.id, claim: entry.claim, reason: reason) else { return false }
            self.logger.notice(
                "Marked interrupted import as failed and deleted its data", metadata: ["import_id": "\(entry.id)"])
            var failed = entry
            failed.status = .failed
            failed.failure = reason
            await self.publishOutcome(failed)
            return true
        }
    }

    // MARK: Deletion

    /// Deletes an import. From this call on, queries do not return it. If its data cannot be deleted now, such as while
    /// the object store is unavailable, the import sweep deletes it later.
    /// - Throws: ``ImportError/notFound``, ``ImportError/claimedByOther`` or ``ImportError/store(_:)``.
    public func delete(_ id: ImportID, account: String) async throws(ImportError) {
        try await self.delete(id, account: account, from: [.stored, .failed])
    }

    /// - Parameter statuses: the import is deleted only if it has one of them.
    private func delete(_ id: ImportID, account: String, from statuses: Set<Import.Status>) async throws(ImportError) {
        _ = try await self.entry(id, account: account)
        let claimed: Import?
        do throws(StoreError) {
            claimed = try await self.ledger.claim(id, from: statuses, to: .deleting, seconds: self.configuration.claimSeconds)
        } catch {
            throw .store(error)
        }
        guard let entry = claimed else { throw .claimedByOther }
        #if DEBUG
        await Failpoint.reach(.importDeleting)
        #endif
        self.forget(id)
        do {
            _ = try await self.withClaim(on: entry) { try await self.deleteEverything(entry) }
        } catch {
            // The import has the status `deleting`, so the sweep continues the deletion.
            self.logger.notice(
                "Failed to delete data of import; the import sweep will retry",
                metadata: ["import_id": "\(id)", "error": "\(error)"])
            _ = try? await self.ledger.extend(id, claim: entry.claim, seconds: 0)
        }
    }

    /// Deletes imports whose ingestion failed before a moment, the earliest first. Of a failed import only its ledger entry is left.
    /// - Returns: the number of imports that were deleted, and of those whose deletion failed.
    func deleteFailed(before moment: Timestamp, limit: Int) async throws(StoreError) -> (deleted: Int, failures: Int) {
        var (deleted, failures) = (0, 0)
        for entry in try await self.maintenance.failed(before: moment, limit: limit) {
            if Task.isCancelled { break }
            do throws(ImportError) {
                // Another program may have made a stored import of it since the query.
                try await self.delete(entry.id, account: entry.account, from: [.failed])
                deleted += 1
            } catch {
                switch error {
                // Deleted or claimed by another worker meanwhile.
                case .notFound, .claimedByOther: break
                default: failures += 1
                }
            }
        }
        return (deleted, failures)
    }

    /// Deletes the objects and unfinished uploads of a claimed import, then its rows and its ledger entry.
    /// - Returns: `false` if another worker has claimed the import since; its rows and its ledger entry remain then.
    func deleteEverything(_ entry: Import) async throws -> Bool {
        try await self.removeObjects(of: entry)
        #if DEBUG
        await Failpoint.reach(.importObjectGone)
        #endif
        guard try await self.ledger.remove(entry.id, claim: entry.claim) else { return false }
        self.forget(entry.id)
        return true
    }

    /// Deletes all objects and unfinished uploads that any attempt to store or move this import may have left, except objects
    /// that another import refers to: another program may have given it this import's location. Does nothing if the import has
    /// no location.
    /// - Throws: ``ObjectError/unavailable(_:)`` also if the import's object store is not configured; ``StoreError``.
    private func removeObjects(of entry: Import) async throws {
        guard let location = entry.location else { return }
        let objects: any ObjectStore
        do throws(ImportError) { objects = try self.objectStore(of: entry) } catch { throw ObjectError.unavailable(error.reason) }
        // No object can have a location that is not a valid key; another program has written it.
        guard (try? ObjectRules.check(key: location)) != nil else { return }
        if try await !self.maintenance.isReferenced(location, besides: entry.id) { try await objects.delete(location) }
        // Objects of the legacy service may have any key. The hub's own objects are in one folder for each import.
        guard let slash = location.lastIndex(of: "/"), location[..<slash].hasSuffix(entry.id.rawValue) else { return }
        let folder = String(location[...slash])
        for object in try await objects.list(prefix: folder, after: nil, limit: 1_000).objects {
            if try await !self.maintenance.isReferenced(object.key, besides: entry.id) { try await objects.delete(object.key) }
        }
        for upload in try await self.objectMaintenance?.unfinishedUploads(prefix: folder) ?? [] {
            try await self.objectMaintenance?.abort(upload)
        }
    }
}
