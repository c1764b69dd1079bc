public import FlowCore
import Synchronization

/// Locks of a single-process hub. They do not survive a restart; fencing tokens keep rising across it.
public final class MemoryLockService: LockService {
    private struct Held: Sendable {
        /// The lock id, a secret that only the holder knows.
        var lock: String
        var account: String
        /// The fencing token; 0 until the fencing sequence has allocated it.
        var fencingToken: Int64
        var expiresAt: Timestamp
    }

    /// The locks of all accounts, expired ones among them.
    private struct Table: Sendable {
        /// By account and resource. No account has an empty dictionary.
        private var accounts: [String: [String: Held]] = [:]
        /// Number of locks of all accounts.
        private(set) var count = 0

        /// The account's lock on the resource.
        subscript(account: String, resource: String) -> Held? {
            get { self.accounts[account]?[resource] }
            set {
                self.count += (newValue == nil ? 0 : 1) - (self[account, resource] == nil ? 0 : 1)
                self.accounts[account, default: [:]][resource] = newValue
                if self.accounts[account]?.isEmpty == true { self.accounts[account] = nil }
            }
        }

        /// Number of the account's locks.
        func count(of account: String) -> Int { self.accounts[account]?.count ?? 0 }

        /// Removes the account's locks that have expired.
        mutating func removeExpired(of account: String, now: Timestamp) {
            guard let locks = self.accounts[account] else { return }
            let held = locks.filter { $0.value.expiresAt > now }
            self.count += held.count - locks.count
            self.accounts[account] = held.isEmpty ? nil : held
        }

        /// Removes all locks that have expired.
        mutating func removeExpired(now: Timestamp) {
            for account in Array(self.accounts.keys) { self.removeExpired(of: account, now: now) }
        }
    }

    private let fencing: any FencingSequence
    private let limits: LockLimits
    private let table = Mutex(Table())

    public init(fencing: any FencingSequence, limits: LockLimits = .init()) {
        self.fencing = fencing
        self.limits = limits
    }

    /// Reserves the lock unless another client has it, then requests the fencing token from the store.
    /// - Throws: `held` if another client holds the lock; `tooManyOfAccount` or `tooMany` if a limit is reached.
    public func acquire(
        _ resource: String, account: String, seconds: Int, now: Timestamp
    ) async throws(LockError) -> LockLease {
        let reservation = Held(
            lock: RandomText.hex128(), account: account, fencingToken: 0, expiresAt: now.advanced(bySeconds: Int64(seconds)))
        // The lock is reserved before its token is requested, so that a later holder requests its token later and
        // receives a higher one. Two concurrent requests could receive their tokens in either order.
        try self.reserve(resource, reservation, now: now)
        let token: Int64
        do {
            token = try await self.fencing.nextFencingToken()
        } catch {
            self.remove(resource, reservation)
            throw .unavailable(Self.reason(of: error))
        }
        let other: Held? = self.table.withLock { table in
            guard table[account, resource]?.lock == reservation.lock else { return table[account, resource] ?? reservation }
            table[account, resource]?.fencingToken = token
            return nil
        }
        // The reservation expired before the fencing token arrived, and another client acquired or reserved the lock.
        if let other { throw .held(until: other.expiresAt) }
        return LockLease(
            resource: resource, lock: reservation.lock, fencingToken: token, expiresAt: reservation.expiresAt)
    }

    /// Extends the lock if the lock id `lock` is that of its holder.
    /// - Throws: `notHeld` if no client holds the lock, `otherHolder` if another one does.
    public func renew(
        _ resource: String, account: String, lock: String, seconds: Int, now: Timestamp
    ) async throws(LockError) -> LockLease {
        try self.withHeld(resource, account: account, lock: lock, now: now) { table in
            table[account, resource]?.expiresAt = now.advanced(bySeconds: Int64(seconds))
        }
    }

    /// Releases the lock if the lock id `lock` is that of its holder.
    /// - Throws: `notHeld` if no client holds the lock, `otherHolder` if another one does.
    public func release(_ resource: String, account: String, lock: String, now: Timestamp) async throws(LockError) {
        _ = try self.withHeld(resource, account: account, lock: lock, now: now) { $0[account, resource] = nil }
    }

    // MARK: Private

    /// Inserts a lock without a fencing token, unless another client of the account holds a lock on the resource. At a
    /// maximum number of locks, expired ones are removed first.
    /// - Throws: `held`, `tooManyOfAccount` or `tooMany`.
    private func reserve(_ resource: String, _ reservation: Held, now: Timestamp) throws(LockError) {
        let account = reservation.account
        let failure: LockError? = self.table.withLock { table in
            if let other = table[account, resource] {
                if other.expiresAt > now { return .held(until: other.expiresAt) }
                table[account, resource] = nil
            }
            if table.count(of: account) >= self.limits.accountLocks {
                table.removeExpired(of: account, now: now)
                if table.count(of: account) >= self.limits.accountLocks {
                    return .tooManyOfAccount(limit: self.limits.accountLocks)
                }
            }
            if table.count >= self.limits.locks {
                table.removeExpired(now: now)
                if table.count >= self.limits.locks { return .tooMany(limit: self.limits.locks) }
            }
            table[account, resource] = reservation
            return nil
        }
        if let failure { throw failure }
    }

    /// Removes the reservation from the resource. A lock that another client acquired later stays.
    private func remove(_ resource: String, _ reservation: Held) {
        self.table.withLock { table in
            if table[reservation.account, resource]?.lock == reservation.lock { table[reservation.account, resource] = nil }
        }
    }

    /// Verifies that the lock id `lock` is that of the holder of the account's resource, then calls `change` with all locks.
    /// - Returns: the lease after `change`; the lease before it if `change` removed the lock.
    /// - Throws: `notHeld` if the lock has expired or was released; `otherHolder` if another client holds it.
    private func withHeld(
        _ resource: String, account: String, lock: String, now: Timestamp, change: (inout Table) -> Void
    ) throws(LockError) -> LockLease {
        let result: Result<LockLease, LockError> = self.table.withLock { table in
            guard let current = table[account, resource], current.expiresAt > now else { return .failure(.notHeld) }
            guard current.lock == lock, current.fencingToken > 0 else { return .failure(.otherHolder) }
            change(&table)
            let after = table[account, resource] ?? current
            return .success(
                LockLease(resource: resource, lock: lock, fencingToken: after.fencingToken, expiresAt: after.expiresAt))
        }
        return try result.get()
    }

    /// The text of the store's error.
    private static func reason(of error: StoreError) -> String {
        switch error {
        case .unavailable(let reason), .overloaded(let reason), .invalidValue(let reason), .outcomeUnknown(let reason): reason
        case .epochChanged: "the store's epoch has changed after a restore"
        }
    }
}
