import Logging
import Synchronization

extension ImportService {
    /// Between two rounds over what was left half done: soon after a claim is over.
    private var interval: Duration { .seconds(min(15, max(1, self.configuration.claimSeconds / 4))) }
    /// Imports that one look at the ledger takes up.
    private static let slice = 100

    /// Finishes or sweeps what a process left by its death, until the task is cancelled. Every instance may run it: a claim
    /// sees to it that one does each thing.
    public func run() async {
        while !Task.isCancelled {
            await self.sweepAbandoned()
            try? await Task.sleep(for: self.interval)
        }
    }

    /// - Returns: how many imports were brought to an end.
    @discardableResult
    public func sweepAbandoned() async -> Int {
        var count = 0
        do throws(StoreError) {
            for entry in try await self.chores.abandoned(limit: Self.slice) where await self.sweepQuietly(entry) { count += 1 }
            for entry in try await self.chores.unannounced(limit: Self.slice) { await self.announce(entry) }
        } catch {
            self.logger.notice("Imports could not be looked after", metadata: ["reason": "\(error)"])
        }
        self.figures.withLock { $0.swept += count }
        return count
    }

    private func sweepQuietly(_ entry: Import) async -> Bool {
        do {
            return try await self.sweep(entry)
        } catch {
            self.logger.notice("An import is swept later", metadata: ["import": "\(entry.id)", "reason": "\(error)"])
            return false
        }
    }

    private func sweep(_ found: Import) async throws -> Bool {
        let claimed = try await self.ledger.claim(
            found.id, from: [.pending, .deleting], to: nil, seconds: self.configuration.claimSeconds)
        // Somebody else was faster, or it is alive after all.
        guard let entry = claimed else { return false }
        return try await self.holding(entry) {
            if entry.status == .deleting { return try await self.takeAway(entry) }
            try await self.removeObjects(of: entry)
            guard try await self.records.removeRecords(of: entry.id, claim: entry.claim) else { return false }
            let reason = "It was interrupted. Nothing of it was kept; send it again."
            guard try await self.ledger.fail(entry.id, claim: entry.claim, reason: reason) else { return false }
            self.logger.notice("An interrupted import was swept", metadata: ["import": "\(entry.id)"])
            var failed = entry
            failed.status = .failed
            failed.failure = reason
            await self.announce(failed)
            return true
        }
    }

    // MARK: Taking away

    /// Removes an import for good. From now on nobody sees it; its object goes as soon as the store can be reached.
    public func delete(_ id: ImportID, account: String) async throws(ImportError) {
        _ = try await self.entry(id, account: account)
        let claimed: Import?
        do throws(StoreError) {
            claimed = try await self.ledger.claim(
                id, from: [.stored, .failed], to: .deleting, seconds: self.configuration.claimSeconds)
        } catch {
            throw .store(error)
        }
        guard let entry = claimed else { throw .held }
        #if DEBUG
        await Failpoint.reach(.importDeleting)
        #endif
        self.cache.remove(id)
        do {
            _ = try await self.holding(entry) { try await self.takeAway(entry) }
        } catch {
            // It is marked, and the sweep goes on with it.
            self.logger.notice("An import's object is removed later", metadata: ["import": "\(id)", "reason": "\(error)"])
            _ = try? await self.ledger.extend(id, claim: entry.claim, seconds: 0)
        }
    }

    private func takeAway(_ entry: Import) async throws -> Bool {
        try await self.removeObjects(of: entry)
        #if DEBUG
        await Failpoint.reach(.importObjectGone)
        #endif
        guard try await self.ledger.remove(entry.id, claim: entry.claim) else { return false }
        self.cache.remove(entry.id)
        return true
    }

    /// Everything that any attempt at this import may have left.
    private func removeObjects(of entry: Import) async throws(ObjectError) {
        guard let location = entry.location else { return }
        guard let objects = self.objects else {
            throw .unavailable("there is no object store configured, and the import's object is in one")
        }
        guard entry.provider == objects.provider else {
            throw .unavailable("the import's object is in another store (\(entry.provider))")
        }
        try await objects.delete(location)
        // What older services wrote may lie anywhere; the hub's own lie in folders of their own.
        guard let slash = location.lastIndex(of: "/"), location[..<slash].hasSuffix(entry.id.rawValue) else { return }
        let folder = String(location[...slash])
        for object in try await objects.list(prefix: folder, after: nil, limit: 1_000).objects {
            try await objects.delete(object.key)
        }
        for upload in try await self.housekeeping?.unfinishedUploads(prefix: folder) ?? [] {
            try await self.housekeeping?.abort(upload)
        }
    }
}
