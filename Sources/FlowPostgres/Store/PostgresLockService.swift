public import FlowCore

/// Locks in the database, for a hub of several instances without Redis. Their times are the instances' clocks: see
/// `flowhub doctor` for how far these are apart.
public final class PostgresLockService: LockService {
    private let pool: PostgresPool

    public init(_ store: PostgresFlowStore) { self.pool = store.pool }

    public func acquire(
        _ resource: String, account: String, seconds: Int, now: Timestamp
    ) async throws(LockError) -> LockLease {
        let lock = RandomText.hex128()
        let until = now.advanced(bySeconds: Int64(seconds))
        var taking = ParameterList()
        taking.add(resource)
        taking.add(account)
        taking.add(lock)
        taking.add(until)
        taking.add(now)
        let take = Statement(
            """
            INSERT INTO hub_locks AS l (resource, account, lock_id, fencing_token, expires_at) VALUES ($1, $2, $3, 0, $4)
            ON CONFLICT (resource) DO UPDATE
            SET account = excluded.account, lock_id = excluded.lock_id, expires_at = excluded.expires_at
            WHERE l.expires_at <= $5
            """, taking)
        // The number is drawn while the row is locked: of two holders one after the other the later has the higher.
        var numbering = ParameterList()
        numbering.add(resource)
        numbering.add(lock)
        let number = Statement(
            """
            UPDATE hub_locks SET fencing_token = nextval('hub_fencing') WHERE resource = $1 AND lock_id = $2
            RETURNING fencing_token
            """, numbering)
        let results = try await self.run([take, number, Self.holder(of: resource)])
        if let token = results[1].first?.int64(0) {
            return LockLease(resource: resource, lock: lock, fencingToken: token, expiresAt: until)
        }
        // The holder may have let go in between; then it is free from now on.
        throw .held(until: results[2].first?.time(2) ?? now)
    }

    public func renew(
        _ resource: String, account: String, lock: String, seconds: Int, now: Timestamp
    ) async throws(LockError) -> LockLease {
        let until = now.advanced(bySeconds: Int64(seconds))
        var parameters = Self.mine(resource, account, lock, now)
        parameters.add(until)
        let renew = Statement(
            """
            UPDATE hub_locks SET expires_at = $5
            WHERE resource = $1 AND account = $2 AND lock_id = $3 AND expires_at > $4 RETURNING fencing_token
            """, parameters)
        let results = try await self.run([renew, Self.holder(of: resource)])
        guard let token = results[0].first?.int64(0) else { throw Self.refusal(results[1], now: now) }
        return LockLease(resource: resource, lock: lock, fencingToken: token, expiresAt: until)
    }

    public func release(_ resource: String, account: String, lock: String, now: Timestamp) async throws(LockError) {
        let release = Statement(
            """
            DELETE FROM hub_locks
            WHERE resource = $1 AND account = $2 AND lock_id = $3 AND expires_at > $4 RETURNING fencing_token
            """, Self.mine(resource, account, lock, now))
        let results = try await self.run([release, Self.holder(of: resource)])
        if results[0].rowCount == 0 { throw Self.refusal(results[1], now: now) }
    }

    // MARK: Private

    private static func mine(_ resource: String, _ account: String, _ lock: String, _ now: Timestamp) -> ParameterList {
        var parameters = ParameterList()
        parameters.add(resource)
        parameters.add(account)
        parameters.add(lock)
        parameters.add(now)
        return parameters
    }

    private static func holder(of resource: String) -> Statement {
        var parameters = ParameterList()
        parameters.add(resource)
        return Statement("SELECT account, lock_id, expires_at FROM hub_locks WHERE resource = $1", parameters)
    }

    private static func refusal(_ holder: ResultSet, now: Timestamp) -> LockError {
        guard let until = holder.first?.time(2), until > now else { return .notHeld }
        return .otherHolder
    }

    private func run(_ statements: [Statement]) async throws(LockError) -> [ResultSet] {
        do throws(PoolFailure) {
            return try await self.pool.run(.chores, statements, isRepeatable: false)
        } catch {
            throw .unavailable(error.error.description)
        }
    }
}
