public import FlowCore
import Testing

/// Contract tests that every ``LockService`` passes.
public enum LockServiceContract {
    public typealias Case = ContractCase<any LockService>

    public static let cases: [Case] = [
        Case("a lock has one holder until it is released or expires") { locks in
            let first = try await locks.acquire("r", account: "1", seconds: 30, now: start)
            #expect(first.resource == "r")
            #expect(first.expiresAt == start.advanced(bySeconds: 30))
            #expect(first.lock.utf8.count >= 22)
            await #expect(throws: LockError.held(until: first.expiresAt)) {
                try await locks.acquire("r", account: "1", seconds: 30, now: start.advanced(bySeconds: 29))
            }
            let second = try await locks.acquire("r", account: "2", seconds: 30, now: start.advanced(bySeconds: 30))
            #expect(second.lock != first.lock)
            #expect(second.fencingToken > first.fencingToken)
            try await locks.release("r", account: "2", lock: second.lock, now: start.advanced(bySeconds: 31))
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
                try await locks.release("r", account: "2", lock: lease.lock, now: start)
            }
            await #expect(throws: LockError.otherHolder) {
                try await locks.renew("r", account: "2", lock: lease.lock, seconds: 1, now: start)
            }
            try await locks.release("r", account: "1", lock: lease.lock, now: start)
            await #expect(throws: LockError.notHeld) { try await locks.release("r", account: "1", lock: lease.lock, now: start) }
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
