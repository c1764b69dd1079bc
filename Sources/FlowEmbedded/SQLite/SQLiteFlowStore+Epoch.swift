public import FlowCore
import GRDB

extension SQLiteFlowStore {
    /// Number of tokens by which the fencing sequence advances when the epoch is raised. A restored copy of the
    /// database does not include the tokens issued after the copy was made; it is assumed that they are fewer than this
    /// number.
    private static let fencingJump: Int64 = 1_000_000

    /// The epoch that this process has adopted.
    public var epoch: Epoch { self.adoptedEpoch.value }

    /// Adopts the stored epoch, and raises it first if it is older than the adopted one.
    /// - Returns: the adopted epoch.
    public func refreshEpoch() async throws(StoreError) -> Epoch {
        // Runs on the writer's queue, as ``raiseEpoch(from:now:)`` does. So the epoch adopted here is never older than
        // one that this process has raised before.
        try await self.write { database in
            var stored = try database.storedEpoch()
            if stored < self.adoptedEpoch.value {
                // The stored epoch is older, so the database is a restored copy. Its next versions need an epoch higher
                // than all that this process has adopted.
                stored = self.adoptedEpoch.value.raised(atUnixSeconds: 0, random: RandomText.base36(6))
                try database.run("UPDATE hub_meta SET epoch = ?", [stored.description.databaseValue])
            }
            self.adoptedEpoch.set(stored)
            return stored
        }
    }

    /// Raises the stored epoch if it still is `from`. In either case adopts the epoch that is stored afterwards.
    /// - Returns: the adopted epoch.
    public func raiseEpoch(from: Epoch, now: Timestamp) async throws(StoreError) -> Epoch {
        let epoch = try await self.write { database in
            let stored = try database.storedEpoch()
            guard stored == from else { return stored }
            let raised = stored.raised(atUnixSeconds: now.seconds, random: RandomText.base36(6))
            try database.run(
                "UPDATE hub_meta SET epoch = ?, fencing = fencing + ?",
                [raised.description.databaseValue, Self.fencingJump.databaseValue])
            return raised
        }
        // Adopted only after the commit. Until then, a change finds a stored epoch that differs from the adopted one,
        // fails with `epochChanged`, and is retried by its caller.
        self.adoptedEpoch.set(epoch)
        return epoch
    }
}

extension SQLiteFlowStore: FencingSequence {
    /// SQL that advances the fencing sequence by one token.
    private static let advanceFencing = "UPDATE hub_meta SET fencing = fencing + 1"

    /// Tests whether the database accepts writes. First writes as many bytes as the largest batch that failed since the last
    /// successful probe, and rolls them back. Then commits an update of one row: it consumes a fencing token, because
    /// SQLite writes nothing to the disk if an update leaves the row unchanged.
    public func probeWrite() async throws(StoreError) {
        let bytes = self.writer.probeBytes
        if bytes > 0 { try await self.probeSpace(bytes) }
        try await self.write { try $0.run(Self.advanceFencing, []) }
        self.writer.probeSucceeded(bytes: bytes)
    }

    /// Writes bytes to the write-ahead log without committing them. SQLite writes a transaction's pages before the commit if
    /// they exceed the page cache, so the cache is small in the meantime.
    private func probeSpace(_ bytes: Int) async throws(StoreError) {
        let result: Result<Void, StoreError> = await withCheckedContinuation { continuation in
            self.pool.asyncWriteWithoutTransaction { database in
                continuation.resume(returning: Result { () throws(StoreError) in try database.probeSpace(bytes) })
            }
        }
        try result.get()
    }

    /// Sets the fencing sequence to the token if it is lower.
    public func advanceFencing(beyond token: Int64) async throws(StoreError) {
        try await self.write { database in
            try database.run("UPDATE hub_meta SET fencing = max(fencing, ?)", [token.databaseValue])
        }
    }

    /// Advances the fencing sequence by one, and returns the new token.
    public func nextFencingToken() async throws(StoreError) -> Int64 {
        try await self.write { database in
            try database.run(Self.advanceFencing, [])
            guard let token = try database.first("SELECT fencing FROM hub_meta", [], { $0[0] as Int64 }) else {
                throw UnreadableRow()
            }
            return token
        }
    }
}

extension Database {
    /// Number of pages in the cache during ``probeSpace(_:)``. These pages stay in memory, so as many are written in addition.
    private static let probePages = 16
    /// Size of a database page in bytes.
    private static let pageBytes = 4_096

    /// Inserts a row of `bytes` bytes, most of which SQLite writes to the write-ahead log at once, and rolls it back.
    fileprivate func probeSpace(_ bytes: Int) throws(StoreError) {
        do {
            try self.execute(sql: "PRAGMA cache_size = \(Self.probePages)")
            defer { try? self.execute(sql: "PRAGMA cache_size = \(SQLiteDatabaseOpener.writerCacheSize)") }
            try self.beginTransaction(.immediate)
            defer { try? self.rollback() }
            try self.run(
                "INSERT INTO flow_events (flow_id, version, type, created_at, payload) VALUES ('', 0, '', 0, printf('%.*c', ?, '0'))",
                [(bytes + Self.probePages * Self.pageBytes).databaseValue])
        } catch {
            throw StoreError(rolledBack: error)
        }
    }
}
