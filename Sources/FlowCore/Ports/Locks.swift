/// The service for resource locks: leases with fencing tokens.
///
/// A lock alone prevents duplicate work, not conflicting writes: a client that paused until its lease had expired may go
/// on writing. Only the fencing token, sent along with each write, stops such a client. Safe to use from any task.
///
/// Each account has its own resources: locks of two accounts on resources of the same name are independent.
public protocol LockService: Sendable {
    /// Acquires the lock on a resource for `seconds`.
    /// - Throws: ``LockError/held(until:)`` if another client holds it, ``LockError/tooManyOfAccount(limit:)``,
    ///   ``LockError/tooMany(limit:)`` or ``LockError/unavailable(_:)``.
    func acquire(_ resource: String, account: String, seconds: Int, now: Timestamp) async throws(LockError) -> LockLease
    /// Extends a lock to expire `seconds` after `now`.
    /// - Parameter lock: ``LockLease/lock`` of the acquisition.
    /// - Throws: ``LockError/notHeld``, ``LockError/otherHolder`` or ``LockError/unavailable(_:)``.
    func renew(_ resource: String, account: String, lock: String, seconds: Int, now: Timestamp) async throws(LockError)
        -> LockLease
    /// Releases a lock before it expires. Throws the same errors as
    /// ``renew(_:account:lock:seconds:now:)``.
    func release(_ resource: String, account: String, lock: String, now: Timestamp) async throws(LockError)
}

/// The limits of held locks.
public struct LockLimits: Hashable, Sendable {
    /// `FLOWHUB_MAX_ACCOUNT_LOCKS`: maximum number of locks that one account holds at the same time.
    public var accountLocks = 1_000
    /// `FLOWHUB_MAX_LOCKS`: maximum number of locks of all accounts in the memory of one process.
    public var locks = 10_000

    public init() {}
}

/// An acquired lock.
public struct LockLease: Hashable, Sendable {
    public var resource: String
    /// The lock's secret, 128 random bits in hexadecimal. A client that presents it, with the account, is the holder.
    public var lock: String
    /// Higher than the tokens of all earlier acquisitions. A renewal returns the token of the acquisition; a higher one if
    /// what was stored of the lock was changed by another program.
    public var fencingToken: Int64
    public var expiresAt: Timestamp

    public init(resource: String, lock: String, fencingToken: Int64, expiresAt: Timestamp) {
        self.resource = resource
        self.lock = lock
        self.fencingToken = fencingToken
        self.expiresAt = expiresAt
    }
}

/// The reason that a lock operation failed.
public enum LockError: Error, Hashable, Sendable {
    /// The lock cannot be acquired: another client holds it until this time, or longer if that client renews it.
    case held(until: Timestamp)
    /// The lock cannot be renewed or released, because no client holds it: it expired or was released.
    case notHeld
    /// The lock cannot be renewed or released, because another client holds it.
    case otherHolder
    /// The lock service is unavailable. The lock may or may not have been acquired, renewed or released.
    case unavailable(String)
    /// The account holds the maximum number of locks.
    case tooManyOfAccount(limit: Int)
    /// The maximum number of locks of this process is reached.
    case tooMany(limit: Int)
}
