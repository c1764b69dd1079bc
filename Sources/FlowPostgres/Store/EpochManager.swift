import FlowCore
import Logging
import Synchronization

/// Tracks the epoch that this process has adopted, and raises it after a restore or a failover of the database.
final class EpochManager: Sendable {
    /// Number of tokens by which the fencing sequence advances when the epoch is raised: more than may have been issued
    /// after the restored copy was made.
    private static let fencingJump: Int64 = 1_000_000

    private let pool: PostgresPool
    private let adoptedEpoch: AdoptedEpoch
    private let logger: Logger
    /// Called after a newer epoch was adopted, to clear the rows that were cached under the previous epoch.
    private let epochChangeHandlers: Mutex<[@Sendable () -> Void]>

    init(pool: PostgresPool, epoch: Epoch, logger: Logger) {
        self.pool = pool
        self.adoptedEpoch = AdoptedEpoch(epoch)
        self.logger = logger
        self.epochChangeHandlers = Mutex([])
    }

    /// The epoch that this process has adopted.
    var epoch: Epoch { self.adoptedEpoch.value }

    /// Adds a handler that is called each time a newer epoch was adopted.
    func onEpochChange(_ handler: @escaping @Sendable () -> Void) {
        self.epochChangeHandlers.withLock { $0.append(handler) }
    }

    /// Adopts the store's current epoch. Raises it first if the server is on another timeline than the epoch's (a
    /// promoted standby), or if the stored epoch is older than the adopted one (a restored copy).
    func refresh() async throws(PoolFailure) {
        let statement = Statement(
            """
            WITH \(StoreSQL.meta)
            SELECT m.epoch, m.same, extract(epoch FROM clock_timestamp())::int8 FROM meta m
            """)
        let before = self.epoch
        let row = try await self.pool.run(.control, [statement], isRetryable: true)[0].first
        guard let row, let stored = row.text(0).flatMap({ Epoch($0) }), let isSame = row.bool(1), let now = row.int64(2) else {
            throw PoolFailure(.unreadable)
        }
        if isSame, stored >= before {
            self.adopt(stored)
        } else {
            self.logger.notice(
                "Database timeline or epoch changed (failover or restore); raising the epoch",
                metadata: ["stored": "\(stored)", "adopted": "\(self.epoch)"])
            try await self.raise(from: stored, now: Timestamp(milliseconds: now * 1_000))
        }
    }

    /// Raises the epoch if the stored one still is `from`, then adopts the stored one. A raised epoch is bound to the
    /// server's current timeline.
    /// - Parameters:
    ///   - from: the stored epoch that the caller has found outdated.
    ///   - now: time for the counter of the new epoch.
    func raise(from: Epoch, now: Timestamp) async throws(PoolFailure) {
        var parameters = ParameterList()
        parameters.add(from.description)
        // The new epoch is higher than both the adopted and the stored one: a restored copy may store an epoch older
        // than the adopted one.
        parameters.add(max(from, self.epoch).raised(atUnixSeconds: now.seconds, random: RandomText.base36(6)).description)
        let raise = Statement(
            """
            WITH raised AS (
                UPDATE hub_meta SET epoch = $2, timeline = left(pg_walfile_name(pg_current_wal_lsn()), 8)
                WHERE epoch = $1 RETURNING 1
            )
            SELECT setval('hub_fencing', nextval('hub_fencing') + \(Self.fencingJump)) FROM raised
            """, parameters)
        let result = try await self.pool.run(
            .control, [raise, Statement("SELECT epoch FROM hub_meta")], isRetryable: true)[1]
        guard let epoch = result.first?.text(0).flatMap({ Epoch($0) }) else { throw PoolFailure(.unreadable) }
        self.adopt(epoch)
    }

    /// Adopts the epoch if it is newer than the adopted one. An older epoch is ignored: it comes from a reply that
    /// arrived after a newer one.
    private func adopt(_ epoch: Epoch) {
        // The epoch advances first, then the caches are cleared. In the reverse order, a batch under the old epoch
        // could cache its rows after the handlers have run.
        guard self.adoptedEpoch.advance(to: epoch) else { return }
        for handler in self.epochChangeHandlers.withLock({ $0 }) { handler() }
    }
}
