public import FlowCore
import Logging

extension PostgresFlowStore {
    /// How far the fencing sequence jumps with a raised epoch: beyond whatever was handed out in the history that is lost.
    private static let fencingJump: Int64 = 1_000_000

    public var epoch: Epoch { self.known.value }

    public func refreshEpoch() async throws(StoreError) -> Epoch {
        do throws(PoolFailure) {
            let row = try await self.pool.run(
                .chores,
                [
                    Statement(
                        """
                        WITH \(StoreSQL.meta)
                        SELECT m.epoch, m.same, extract(epoch FROM clock_timestamp())::int8 FROM meta m
                        """)
                ], isRepeatable: true)[0].first
            guard let row, let stored = row.text(0).flatMap({ Epoch($0) }), let isSame = row.bool(1), let now = row.int64(2)
            else { throw PoolFailure(.unreadable) }
            if isSame {
                self.adopt(stored)
            } else {
                self.logger.notice("The database's timeline is another one: a standby was promoted; raising the epoch")
                try await self.raise(from: stored, now: Timestamp(milliseconds: now * 1_000))
            }
            return self.known.value
        } catch {
            throw StoreError(PoolFailure(error.error))
        }
    }

    public func raiseEpoch(from: Epoch, now: Timestamp) async throws(StoreError) -> Epoch {
        do throws(PoolFailure) {
            try await self.raise(from: from, now: now)
            return self.known.value
        } catch {
            throw StoreError(error)
        }
    }

    /// Raises the epoch if it still is `from`, and works under whatever it is then. The raised one belongs to the timeline that
    /// the server is on now.
    func raise(from: Epoch, now: Timestamp) async throws(PoolFailure) {
        var parameters = ParameterList()
        parameters.add(from.description)
        parameters.add(from.raised(atUnixSeconds: now.seconds, random: RandomText.base36(6)).description)
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

    private func adopt(_ epoch: Epoch) {
        if epoch != self.known.value { self.forgetRows() }
        self.known.set(epoch)
    }
}

extension PostgresFlowStore: FencingSequence {
    public func nextFencingToken() async throws(StoreError) -> Int64 {
        do throws(PoolFailure) {
            let result = try await self.pool.run(
                .chores, [Statement("SELECT nextval('hub_fencing')")], isRepeatable: true)[0]
            guard let token = result.first?.int64(0) else { throw PoolFailure(.unreadable) }
            return token
        } catch {
            throw StoreError(PoolFailure(error.error))
        }
    }
}

extension PostgresFlowStore: RevocationStore {
    /// Of two revocations of one subject the later moment holds.
    public func revoke(_ revocation: Revocation, now: Timestamp) async throws(StoreError) {
        var parameters = ParameterList()
        parameters.add(revocation.account)
        parameters.add(revocation.subject)
        parameters.add(revocation.notBefore)
        parameters.add(now)
        let statement = Statement(
            """
            INSERT INTO revocations (account, subject, not_before, created_at) VALUES ($1, $2, $3, $4)
            ON CONFLICT (account, subject) DO UPDATE
            SET not_before = greatest(revocations.not_before, excluded.not_before), created_at = excluded.created_at
            """, parameters)
        // To do it twice is to do it once.
        do throws(PoolFailure) { _ = try await self.pool.run(.chores, [statement], isRepeatable: true) } catch {
            throw StoreError(error)
        }
    }

    public func revocations() async throws(StoreError) -> [Revocation] {
        do throws(PoolFailure) {
            let result = try await self.pool.run(
                .chores,
                [Statement("SELECT account, subject, not_before FROM revocations ORDER BY account, subject")],
                isRepeatable: true)[0]
            return result.rows.compactMap { row in
                guard let account = row.text(0), let subject = row.text(1), let notBefore = row.int64(2) else { return nil }
                return Revocation(account: account, subject: subject, notBefore: notBefore)
            }
        } catch {
            throw StoreError(PoolFailure(error.error))
        }
    }
}
