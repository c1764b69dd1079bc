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

    /// Default maximum number of locks held at the same time.
    public static let defaultMaximumLocks = 10_000

    private let fencing: any FencingSequence
    private let maximumLocks: Int
    private let held = Mutex<[String: Held]>([:])

    public init(fencing: any FencingSequence, maximumLocks: Int = MemoryLockService.defaultMaximumLocks) {
        self.fencing = fencing
        self.maximumLocks = maximumLocks
    }

    /// Reserves the lock unless another client has it, then requests the fencing token from the store.
    /// - Throws: `held` if another client holds the lock; `tooMany` if the maximum number of locks is reached.
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
            self.remove(resource, lock: reservation.lock)
            throw .unavailable(Self.reason(of: error))
        }
        let other: Held? = self.held.withLock { held in
            guard held[resource]?.lock == reservation.lock else { return held[resource] ?? reservation }
            held[resource]?.fencingToken = token
            return nil
        }
        // The reservation expired before the fencing token arrived, and another client acquired or reserved the lock.
        if let other { throw .held(until: other.expiresAt) }
        return LockLease(
            resource: resource, lock: reservation.lock, fencingToken: token, expiresAt: reservation.expiresAt)
    }

    /// Extends the lock if `account` and the lock id `lock` are those of its holder.
    /// - Throws: `notHeld` if no client holds the lock, `otherHolder` if another one does.
    public func renew(
        _ resource: String, account: String, lock: String, seconds: Int, now: Timestamp
    ) async throws(LockError) -> LockLease {
        try self.withHeld(resource, account: account, lock: lock, now: now) { held in
            held[resource]?.expiresAt = now.advanced(bySeconds: Int64(seconds))
        }
    }

    /// Releases the lock if `account` and the lock id `lock` are those of its holder.
    /// - Throws: `notHeld` if no client holds the lock, `otherHolder` if another one does.
    public func release(_ resource: String, account: String, lock: String, now: Timestamp) async throws(LockError) {
        _ = try self.withHeld(resource, account: account, lock: lock, now: now) { $0[resource] = nil }
    }

    // MARK: Private

    /// Inserts a lock without a fencing token, unless another client holds a lock on the resource. At the maximum
    /// number of locks, expired ones are removed first.
    /// - Throws: `held` or `tooMany`.
    private func reserve(_ resource: String, _ reservation: Held, now: Timestamp) throws(LockError) {
        let failure: LockError? = self.held.withLock { held in
            if let other = held[resource], other.expiresAt > now { return .held(until: other.expiresAt) }
            if held[resource] == nil, held.count >= self.maximumLocks {
                held = held.filter { $0.value.expiresAt > now }
                if held.count >= self.maximumLocks { return .tooMany(limit: self.maximumLocks) }
            }
            held[resource] = reservation
            return nil
        }
        if let failure { throw failure }
    }

    /// Removes the lock with the id `lock` from the resource. A lock that another client acquired later stays.
    private func remove(_ resource: String, lock: String) {
        self.held.withLock { held in
            if held[resource]?.lock == lock { held[resource] = nil }
        }
    }

    /// Verifies that `account` and the lock id `lock` are those of the resource's holder, then calls `change` with all
    /// locks.
    /// - Returns: the lease after `change`; the lease before it if `change` removed the lock.
    /// - Throws: `notHeld` if the lock has expired or was released; `otherHolder` if another client holds it.
    private func withHeld(
        _ resource: String, account: String, lock: String, now: Timestamp, change: (inout [String: Held]) -> Void
    ) throws(LockError) -> LockLease {
        let result: Result<LockLease, LockError> = self.held.withLock { held in
            guard let current = held[resource], current.expiresAt > now else { return .failure(.notHeld) }
            guard current.lock == lock, current.account == account, current.fencingToken > 0 else {
                return .failure(.otherHolder)
            }
            change(&held)
            let after = held[resource] ?? current
            return .success(
                LockLease(resource: resource, lock: lock, fencingToken: after.fencingToken, expiresAt: after.expiresAt))
        }
        return try result.get()
    }

    /// The text of the store's error.
    private static func reason(of error: StoreError) -> String {
        switch error {
        case .unavailable(let reason), .overloaded(let reason), .outcomeUnknown(let reason): reason
        case .epochChanged: "the store's epoch has changed after a restore"
        }
    }
}
