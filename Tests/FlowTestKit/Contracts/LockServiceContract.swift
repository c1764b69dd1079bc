public import FlowCore
import Testing

/// Contract tests that every ``LockService`` passes.
public enum LockServiceContract {
    /// A case gets a service without locks, with the limits ``limits``.
    public typealias Case = ContractCase<any LockService>

    /// The limits that the service must have.
    public static var limits: LockLimits {
        var limits = LockLimits()
        limits.accountLocks = 5
        return limits
    }

    public static let cases: [Case] = [
        Case("a lock has one holder until it is released or expires") { locks in
            let first = try await locks.acquire("r", account: "1", seconds: 30, now: start)
            #expect(first.resource == "r")
            #expect(first.expiresAt == start.advanced(bySeconds: 30))
            #expect(first.lock.utf8.count >= 22)
            await #expect(throws: LockError.held(until: first.expiresAt)) {
                try await locks.acquire("r", account: "1", seconds: 30, now: start.advanced(bySeconds: 29))
            }
            let second = try await locks.acquire("r", account: "1", seconds: 30, now: start.advanced(bySeconds: 30))
            #expect(second.lock != first.lock)
            #expect(second.fencingToken > first.fencingToken)
            try await locks.release("r", account: "1", lock: second.lock, now: start.advanced(bySeconds: 31))
            let third = try await locks.acquire("r", account: "1", seconds: 1, now: start.advanced(bySeconds: 31))
            #expect(third.fencingToken > second.fencingToken)
            _ = try await locks.acquire("other", account: "1", seconds: 1, now: start.advanced(bySeconds: 31))
        },
        Case("a renewal keeps the lock and its fencing token") { locks in
            let first = try await locks.acquire("r", account: "1", seconds: 10, now: start)
            let renewed = try await locks.renew(
                "r", account: "1", lock: first.lock, seconds: 10, now: start.advanced(bySeconds: 9))
            #expect(renewed.lock == first.lock)
            #expect(renewed.fencingToken == first.fencingToken)
            #expect(renewed.expiresAt == start.advanced(bySeconds: 19))
            await #expect(throws: LockError.held(until: renewed.expiresAt)) {
                try await locks.acquire("r", account: "1", seconds: 1, now: start.advanced(bySeconds: 18))
            }
            await #expect(throws: LockError.notHeld) {
                try await locks.renew("r", account: "1", lock: first.lock, seconds: 10, now: start.advanced(bySeconds: 19))
            }
        },
        Case("a caller that does not hold the lock can neither renew nor release it") { locks in
            await #expect(throws: LockError.notHeld) { try await locks.release("r", account: "1", lock: "x", now: start) }
            let lease = try await locks.acquire("r", account: "1", seconds: 10, now: start)
            await #expect(throws: LockError.otherHolder) { try await locks.release("r", account: "1", lock: "x", now: start) }
            await #expect(throws: LockError.otherHolder) {
                try await locks.renew("r", account: "1", lock: "x", seconds: 1, now: start)
            }
            try await locks.release("r", account: "1", lock: lease.lock, now: start)
            await #expect(throws: LockError.notHeld) { try await locks.release("r", account: "1", lock: lease.lock, now: start) }
        },
        Case("locks of two accounts on resources of the same name are independent") { locks in
            for (mine, other) in [("1", "2"), ("0", "1"), ("2", "0")] {
                let resource = "shared-\(mine)"
                let first = try await locks.acquire(resource, account: mine, seconds: 10, now: start)
                // Another account does not learn that there is a lock.
                await #expect(throws: LockError.notHeld) {
                    try await locks.renew(resource, account: other, lock: first.lock, seconds: 1, now: start)
                }
                await #expect(throws: LockError.notHeld) {
                    try await locks.release(resource, account: other, lock: first.lock, now: start)
                }
                let second = try await locks.acquire(resource, account: other, seconds: 20, now: start)
                #expect(second.lock != first.lock && second.fencingToken > first.fencingToken)
                #expect(second.resource == resource && first.resource == resource)
                try await locks.release(resource, account: other, lock: second.lock, now: start)
                await #expect(throws: LockError.held(until: first.expiresAt)) {
                    try await locks.acquire(resource, account: mine, seconds: 1, now: start)
                }
                try await locks.release(resource, account: mine, lock: first.lock, now: start)
            }
        },
        Case("an account holds as many locks as allowed, and takes none from another account") { locks in
            let limit = Self.limits.accountLocks
            let other = try await locks.acquire("r0", account: "2", seconds: 10, now: start)
            let results = await withTaskGroup(of: Result<LockLease, LockError>.self) { group in
                for number in 0..<(limit * 4) {
                    group.addTask {
                        do throws(LockError) {
                            return .success(
                                try await locks.acquire(
                                    "r\(number)", account: "1", seconds: number % 2 == 0 ? 10 : 20, now: start))
                        } catch {
                            return .failure(error)
                        }
                    }
                }
                return await group.reduce(into: []) { $0.append($1) }
            }
            let leases = results.compactMap { try? $0.get() }
            #expect(leases.count == limit)
            #expect(results.filter { $0 == .failure(.tooManyOfAccount(limit: limit)) }.count == limit * 3)
            let first = try #require(leases.first)
            // At the limit: a held lock is reported as held, and can be renewed.
            await #expect(throws: LockError.held(until: first.expiresAt)) {
                try await locks.acquire(first.resource, account: "1", seconds: 10, now: start)
            }
            _ = try await locks.renew(first.resource, account: "1", lock: first.lock, seconds: 10, now: start)
            _ = try await locks.acquire("r1", account: "2", seconds: 10, now: start)
            _ = try await locks.renew("r0", account: "2", lock: other.lock, seconds: 10, now: start)
            // A released lock makes room, and so does an expired one.
            try await locks.release(first.resource, account: "1", lock: first.lock, now: start)
            _ = try await locks.acquire("more", account: "1", seconds: 20, now: start)
            await #expect(throws: LockError.tooManyOfAccount(limit: limit)) {
                try await locks.acquire("most", account: "1", seconds: 10, now: start)
            }
            _ = try await locks.acquire("most", account: "1", seconds: 10, now: start.advanced(bySeconds: 20))
        },
        Case("exactly one of many concurrent callers acquires the lock") { locks in
            let leases = await withTaskGroup(of: LockLease?.self) { group in
                for _ in 0..<50 { group.addTask { try? await locks.acquire("r", account: "1", seconds: 10, now: start) } }
                return await group.reduce(into: []) { leases, lease in if let lease { leases.append(lease) } }
            }
            #expect(leases.count == 1)
        },
    ]
}
