/// Locks that save work. They do not make it safe: a holder that paused beyond its time may go on writing, and only the
/// fencing token, sent along with the write, stops it.
public protocol LockService: Sendable {
    func acquire(_ resource: String, account: String, seconds: Int, now: Timestamp) async throws(LockError) -> LockLease
    func renew(_ resource: String, account: String, lock: String, seconds: Int, now: Timestamp) async throws(LockError)
        -> LockLease
    func release(_ resource: String, account: String, lock: String, now: Timestamp) async throws(LockError)
}

public struct LockLease: Hashable, Sendable {
    public var resource: String
    /// Random; who knows it holds the lock.
    public var lock: String
    public var fencingToken: Int64
    public var expiresAt: Timestamp

    public init(resource: String, lock: String, fencingToken: Int64, expiresAt: Timestamp) {
        self.resource = resource
        self.lock = lock
        self.fencingToken = fencingToken
        self.expiresAt = expiresAt
    }
}

public enum LockError: Error, Hashable, Sendable {
    /// Somebody holds it until then.
    case held(until: Timestamp)
    /// Nobody holds it: it ran out or was released.
    case notHeld
    /// Somebody else holds it.
    case otherHolder
    case unavailable(String)
    /// This process keeps as many locks as it may.
    case tooMany(limit: Int)
}
