public import FlowCore

/// Locks as rows of the database, for a hub of several instances without Redis. A row has the lock's name of ``AccountName``;
/// rows of earlier versions have the bare resource, which all accounts shared, and stay valid for their account. The instances
/// pass the time of their ``FlowCore/HubClock``, which follows the database's clock.
public final class PostgresLockService: LockService {
    private let pool: PostgresPool

    private let limits: LockLimits

    public init(_ store: PostgresFlowStore, limits: LockLimits = .init()) {
        self.pool = store.pool
        self.limits = limits
    }

    /// Class of the advisory locks under which an account's locks are counted: "lock" in ASCII.
    private static let countLock = 1_819_239_275

    /// Inserts the lock's row, or replaces an expired one, and allocates its fencing token in the same transaction.
    /// - Throws: `held` if another client holds the lock; `tooManyOfAccount` if the account holds the maximum number.
    public func acquire(
        _ resource: String, account: String, seconds: Int, now: Timestamp
    ) async throws(LockError) -> LockLease {
        let lock = RandomText.hex128()
        let until = now.advanced(bySeconds: Int64(seconds))
        let name = AccountName.stored(resource, account: account)
        var accountParameters = ParameterList()
        accountParameters.add(account)
        // Two concurrent acquisitions of an account must not both find room for one lock.
        let serialize = Statement("SELECT pg_advisory_xact_lock(\(Self.countLock), hashtext($1))", accountParameters)
        var countParameters = ParameterList()
        countParameters.add(name)
        countParameters.add(account)
        countParameters.add(now)
        countParameters.add(self.limits.accountLocks)
        let others = Statement(
            """
            SELECT count(*) FROM (
                SELECT FROM hub_locks WHERE account = $2 AND expires_at > $3 AND resource <> $1 LIMIT $4
            ) AS held
            """, countParameters)
        var insertParameters = ParameterList()
        insertParameters.add(name)
        insertParameters.add(account)
        insertParameters.add(lock)
        insertParameters.add(until)
        insertParameters.add(now)
        insertParameters.add(resource)
        insertParameters.add(self.limits.accountLocks)
        let insert = Statement(
            """
            INSERT INTO hub_locks AS l (resource, account, lock_id, fencing_token, expires_at)
            SELECT $1, $2, $3, 0, $4
            WHERE NOT EXISTS (
                SELECT FROM hub_locks WHERE resource = $6 AND $6 <> $1 AND account = $2 AND expires_at > $5
            ) AND $7 > (
                SELECT count(*) FROM (
                    SELECT FROM hub_locks WHERE account = $2 AND expires_at > $5 AND resource <> $1 LIMIT $7
                ) AS held
            )
            ON CONFLICT (resource) DO UPDATE
            SET account = excluded.account, lock_id = excluded.lock_id, expires_at = excluded.expires_at
            WHERE l.expires_at <= $5
            """, insertParameters)
        // The token is allocated while the row is locked, so that a later holder always has a higher token.
        var tokenParameters = ParameterList()
        tokenParameters.add(name)
        tokenParameters.add(lock)
        let assignToken = Statement(
            """
            UPDATE hub_locks SET fencing_token = nextval('hub_fencing') WHERE resource = $1 AND lock_id = $2
            RETURNING fencing_token
            """, tokenParameters)
        let results = try await self.run([serialize, others, insert, assignToken, Self.holder(of: resource, account)])
        if let token = results[3].first?.int64(0) {
            return LockLease(resource: resource, lock: lock, fencingToken: token, expiresAt: until)
        }
        if let until = results[4].first?.time(2), until > now { throw .held(until: until) }
        if let count = results[1].first?.int64(0), count >= self.limits.accountLocks {
            throw .tooManyOfAccount(limit: self.limits.accountLocks)
        }
        // If the lock has no row, its holder has released it since the insert failed, so it is free from `now` on.
        throw .held(until: now)
    }

    /// Extends the lock if `account` and the lock's secret `lock` are those of its holder.
    /// - Throws: `notHeld` if no client holds the lock, `otherHolder` if another one does.
    public func renew(
        _ resource: String, account: String, lock: String, seconds: Int, now: Timestamp
    ) async throws(LockError) -> LockLease {
        let until = now.advanced(bySeconds: Int64(seconds))
        var parameters = Self.ownerParameters(resource, account, lock, now)
        parameters.add(until)
        let renew = Statement(
            """
            UPDATE hub_locks SET expires_at = $6
            WHERE resource IN ($1, $5) AND account = $2 AND lock_id = $3 AND expires_at > $4 RETURNING fencing_token
            """, parameters)
        let results = try await self.run([renew, Self.holder(of: resource, account)])
        guard let token = results[0].first?.int64(0) else { throw Self.rejection(results[1], now: now) }
        return LockLease(resource: resource, lock: lock, fencingToken: token, expiresAt: until)
    }

    /// Deletes the lock's row if `account` and the lock's secret `lock` are those of its holder.
    /// - Throws: `notHeld` if no client holds the lock, `otherHolder` if another one does.
    public func release(_ resource: String, account: String, lock: String, now: Timestamp) async throws(LockError) {
        let release = Statement(
            """
            DELETE FROM hub_locks
            WHERE resource IN ($1, $5) AND account = $2 AND lock_id = $3 AND expires_at > $4 RETURNING fencing_token
            """, Self.ownerParameters(resource, account, lock, now))
        let results = try await self.run([release, Self.holder(of: resource, account)])
        if results[0].rowCount == 0 { throw Self.rejection(results[1], now: now) }
    }

    // MARK: Private

    /// The parameters `$1` to `$5` of the condition that the caller holds the lock.
    private static func ownerParameters(
        _ resource: String, _ account: String, _ lock: String, _ now: Timestamp
    ) -> ParameterList {
        var parameters = ParameterList()
        parameters.add(AccountName.stored(resource, account: account))
        parameters.add(account)
        parameters.add(lock)
        parameters.add(now)
        parameters.add(resource)
        return parameters
    }

    /// Creates the statement that reads the lock's row, if it exists; of two rows, the one that expires later. For account `0`
    /// that may be the row of another account, from an earlier version.
    private static func holder(of resource: String, _ account: String) -> Statement {
        var parameters = ParameterList()
        parameters.add(AccountName.stored(resource, account: account))
        parameters.add(resource)
        parameters.add(account)
        return Statement(
            """
            SELECT account, lock_id, expires_at FROM hub_locks WHERE resource = $1 OR (resource = $2 AND account = $3)
            ORDER BY expires_at DESC LIMIT 1
            """, parameters)
    }

    /// The error for a caller that does not hold the lock: `notHeld` if it is free, otherwise `otherHolder`.
    private static func rejection(_ holder: ResultSet, now: Timestamp) -> LockError {
        guard let until = holder.first?.time(2), until > now else { return .notHeld }
        return .otherHolder
    }

    /// Runs the statements as one transaction, and maps a failure to `unavailable`.
    private func run(_ statements: [Statement]) async throws(LockError) -> [ResultSet] {
        do throws(PoolFailure) {
            return try await self.pool.run(.control, statements, isRetryable: false)
        } catch {
            throw .unavailable(error.error.description)
        }
    }
}
