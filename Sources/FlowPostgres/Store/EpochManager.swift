import FlowCore
import Logging
import Synchronization

/// The name of the database's history: knows the one that this process works under, and raises it where the history became
/// another one.
final class EpochManager: Sendable {
    /// How far the fencing sequence jumps with a raised epoch: beyond whatever was handed out in the history that is lost.
    private static let fencingJump: Int64 = 1_000_000

    private let pool: PostgresPool
    private let known: AdoptedEpoch
    private let logger: Logger
    /// Told when another epoch begins, before anybody works under it.
    private let forget: Mutex<[@Sendable () -> Void]>

    init(pool: PostgresPool, epoch: Epoch, logger: Logger) {
        self.pool = pool
        self.known = AdoptedEpoch(epoch)
        self.logger = logger
        self.forget = Mutex([])
    }

    var epoch: Epoch { self.known.value }

    func onChange(_ action: @escaping @Sendable () -> Void) { self.forget.withLock { $0.append(action) } }

    /// Works under the store's present epoch. It is raised first where the server is on another timeline than the epoch's (a
    /// promoted standby), and where it is below the one worked under until now (an older copy).
    func refresh() async throws(PoolFailure) {
        let statement = Statement(
            """
            WITH \(StoreSQL.meta)
            SELECT m.epoch, m.same, extract(epoch FROM clock_timestamp())::int8 FROM meta m
            """)
        let before = self.epoch
        let row = try await self.pool.run(.chores, [statement], isRepeatable: true)[0].first
        guard let row, let stored = row.text(0).flatMap({ Epoch($0) }), let isSame = row.bool(1), let now = row.int64(2) else {
            throw PoolFailure(.unreadable)
        }
        if isSame, stored >= before {
            self.adopt(stored)
        } else {
            self.logger.notice(
                "The database is another one than before: a copy or a standby took its place; raising the epoch",
                metadata: ["stored": "\(stored)", "known": "\(self.epoch)"])
            try await self.raise(from: stored, now: Timestamp(milliseconds: now * 1_000))
        }
    }

    /// Raises the epoch if it still is `from`, and works under whatever it is then. The raised one belongs to the timeline that
    /// the server is on now.
    func raise(from: Epoch, now: Timestamp) async throws(PoolFailure) {
        var parameters = ParameterList()
        parameters.add(from.description)
        // Above what this process has worked under, too: an older copy may bear an older name.
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
            .chores, [raise, Statement("SELECT epoch FROM hub_meta")], isRepeatable: true)[1]
        guard let epoch = result.first?.text(0).flatMap({ Epoch($0) }) else { throw PoolFailure(.unreadable) }
        self.adopt(epoch)
    }

    /// Never goes back: a slow answer may name an older epoch than is known by now.
    private func adopt(_ epoch: Epoch) {
        // Known first: what settles from now on under the old name is not remembered; then what was is forgotten.
        guard self.known.advance(to: epoch) else { return }
        for forget in self.forget.withLock({ $0 }) { forget() }
    }
}
