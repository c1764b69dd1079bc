public import FlowCore

/// ``LockService`` over Redis keys `lock:{name}`, with the name of ``AccountName``. Redis may lose a lock, and other programs
/// may change it; safety comes from the fencing token, which the store assigns. A MAC protects the token in Redis.
public final class RedisLockService: LockService {
    private let link: RedisLink
    /// The store's source of fencing tokens.
    private let fencing: any FencingSequence
    private let authenticator: MessageAuthenticator
    private let limits: LockLimits
    private let legacyAccount: String?
    private let softTimeoutMilliseconds: Int

    /// - Parameter legacyAccount: the account that shares its locks with the legacy service; see ``AccountName``.
    init(
        _ link: RedisLink, fencing: any FencingSequence, authenticator: MessageAuthenticator, limits: LockLimits,
        legacyAccount: String?, softTimeoutMilliseconds: Int
    ) {
        self.link = link
        self.fencing = fencing
        self.authenticator = authenticator
        self.limits = limits
        self.legacyAccount = legacyAccount
        self.softTimeoutMilliseconds = softTimeoutMilliseconds
    }

    /// Acquires a lock in Redis, then adds a fencing token from the store. If the store supplies no token, releases the
    /// lock.
    public func acquire(
        _ resource: String, account: String, seconds: Int, now: Timestamp
    ) async throws(LockError) -> LockLease {
        let lock = RandomText.hex128()
        let expiresAt = now.advanced(bySeconds: Int64(seconds))
        // Acquire the lock before allocating the fencing token: of two consecutive holders, the later one then has the
        // higher token.
        var call = RedisScript.lockAcquire.call(keys: self.keys(resource, account))
        call.add(Self.encode(lock, account, expiresAt).bytes)
        // At most 10 s until the lock has its token: if the reply is lost, the lock has no holder and must expire soon.
        call.add(min(seconds, Self.unfencedSeconds) * 1_000)
        call.add(now.milliseconds)
        call.add(account)
        call.add(self.limits.accountLocks)
        call.add(Self.maximumMilliseconds)
        let reply = try await self.run(RedisScript.lockAcquire, call)
        if reply.text == "full" { throw .tooManyOfAccount(limit: self.limits.accountLocks) }
        if let end = reply.text.flatMap({ Int64($0) }) { throw .held(until: Timestamp(milliseconds: end)) }
        guard reply.isNull else { throw Self.unexpected }
        do {
            let fencingToken = try await self.fencing.nextFencingToken()
            let reply = try await self.assign(fencingToken, to: resource, account, lock, now, seconds: seconds)
            guard let lease = self.lease(reply, resource, account, lock) else { throw LockError.held(until: expiresAt) }
            return lease
        } catch {
            // Release the lock, since the caller did not get it. `lock_update.lua` releases only a lock with a fencing
            // token, so one is set first.
            _ = try? await self.update(resource, account, lock, now, "number", "1", "", 1_000)
            _ = try? await self.update(resource, account, lock, now, "release", "", "", 0)
            if let error = error as? LockError { throw error }
            throw Self.noToken
        }
    }

    /// Extends a lock in Redis, provided that the caller holds it: `lock` is the lock id that
    /// ``acquire(_:account:seconds:now:)`` returned.
    public func renew(
        _ resource: String, account: String, lock: String, seconds: Int, now: Timestamp
    ) async throws(LockError) -> LockLease {
        let end = now.advanced(bySeconds: Int64(seconds))
        let reply = try await self.update(
            resource, account, lock, now, "renew", "\(end.milliseconds)", end.description, seconds * 1_000)
        if let lease = self.lease(reply, resource, account, lock) { return lease }
        guard reply.elements != nil else { throw Self.lockError(reply) }
        // The lock was acquired with an earlier version of the hub, which wrote no MAC, or another program has changed the
        // token. A new one from the store is higher than all before, whatever Redis has.
        let fencingToken: Int64
        do { fencingToken = try await self.fencing.nextFencingToken() } catch { throw Self.noToken }
        let changed = try await self.assign(fencingToken, to: resource, account, lock, now, seconds: seconds)
        guard let lease = self.lease(changed, resource, account, lock) else { throw Self.lockError(changed) }
        return lease
    }

    /// Removes a lock from Redis, provided that the caller holds it: `lock` is the lock id that
    /// ``acquire(_:account:seconds:now:)`` returned.
    public func release(_ resource: String, account: String, lock: String, now: Timestamp) async throws(LockError) {
        let reply = try await self.update(resource, account, lock, now, "release", "", "", 0)
        guard reply.elements != nil else { throw Self.lockError(reply) }
    }

    // MARK: Private

    /// Maximum TTL in seconds of a lock without a fencing token.
    private static let unfencedSeconds = 10

    /// Maximum TTL of a lock in milliseconds. The key with an account's locks is kept for as long.
    private static let maximumMilliseconds = 3_600_000

    private static let noToken = LockError.unavailable("Cannot allocate a fencing token: the store is unavailable.")

    private static let unexpected = LockError.unavailable("Unexpected reply from Redis to a lock operation.")

    /// The Redis keys of the lock scripts. A lock of the account that is held under the last one stays held: earlier versions
    /// had the locks of all accounts under their bare names, and an instance may have another legacy account.
    private func keys(_ resource: String, _ account: String) -> [String] {
        let names = AccountName.all(resource, account: account, legacyAccount: self.legacyAccount)
        return ["lock:\(names[0])", "hub:locks:\(account)", "lock:\(names[1])"]
    }

    /// What the MAC of a lock covers.
    private static func context(_ resource: String, _ account: String, _ lock: String, _ fencingToken: Int64) -> [String] {
        [account, resource, lock, "\(fencingToken)"]
    }

    /// Sets the fencing token of a lock, with its MAC.
    private func assign(
        _ fencingToken: Int64, to resource: String, _ account: String, _ lock: String, _ now: Timestamp, seconds: Int
    ) async throws(LockError) -> RESPValue {
        let mac = self.authenticator.mac(ofEntry: "lock", Self.context(resource, account, lock, fencingToken))
        return try await self.update(
            resource, account, lock, now, "number", "\(fencingToken)", String(decoding: mac, as: UTF8.self), seconds * 1_000)
    }

    /// Calls the script `lock_update.lua`, whose reply ``lease(_:_:_:_:)`` and ``lockError(_:)`` interpret.
    /// - Parameters:
    ///   - operation: `number` to set the fencing token, `renew` or `release`.
    ///   - value: the fencing token, or the new expiry in milliseconds; empty for `release`.
    ///   - text: the MAC for `number`, the new expiry as text for `renew`; otherwise empty.
    ///   - milliseconds: the new TTL of the lock's key.
    private func update(
        _ resource: String, _ account: String, _ lock: String, _ now: Timestamp, _ operation: String, _ value: String,
        _ text: String,
        _ milliseconds: Int
    ) async throws(LockError) -> RESPValue {
        var call = RedisScript.lockUpdate.call(keys: self.keys(resource, account))
        call.add(lock)
        call.add(account)
        call.add(now.milliseconds)
        call.add(operation)
        call.add(value)
        call.add(text)
        call.add(milliseconds)
        call.add(Self.maximumMilliseconds)
        return try await self.run(RedisScript.lockUpdate, call)
    }

    /// Calls a script. Any failure becomes ``LockError/unavailable(_:)``.
    private func run(_ script: RedisScript, _ call: RESPCommand) async throws(LockError) -> RESPValue {
        do throws(RedisError) {
            return try await self.link.run(script, call, within: self.softTimeoutMilliseconds)
        } catch {
            throw .unavailable(error.description)
        }
    }

    /// The error for a reply of `lock_update.lua` that has no fencing token: the caller does not hold the lock.
    private static func lockError(_ reply: RESPValue) -> LockError {
        switch reply.text {
        case "none": .notHeld
        case "other": .otherHolder
        default: Self.unexpected
        }
    }

    /// The fencing token and the expiry in a reply of `lock_update.lua`, as the lock's lease; `nil` if the caller does not
    /// hold the lock, or the token's MAC is missing or wrong.
    private func lease(_ reply: RESPValue, _ resource: String, _ account: String, _ lock: String) -> LockLease? {
        guard let parts = reply.elements, parts.count == 3, let fencingToken = parts[0].text.flatMap({ Int64($0) }),
            let end = parts[1].text.flatMap({ Int64($0) }), let mac = parts[2].bytes,
            self.authenticator.isAuthentic(
                entry: "lock", Self.context(resource, account, lock, fencingToken), mac: mac)
        else { return nil }
        return LockLease(resource: resource, lock: lock, fencingToken: fencingToken, expiresAt: Timestamp(milliseconds: end))
    }

    /// The JSON under a lock's Redis key until the lock has a fencing token; its member `fencing_token` is 0.
    private static func encode(_ lock: String, _ account: String, _ end: Timestamp) -> JSONText {
        JSONText.object { writer in
            writer.key("lock_id")
            writer.value(lock)
            writer.key("account")
            writer.value(account)
            writer.key("fencing_token")
            writer.value(0)
            writer.key("expires_at")
            writer.value(end.description)
            writer.key("expires")
            writer.value(end.milliseconds)
        }
    }
}
