import Testing

@testable import FlowCore

struct InFlightLimiterTests {
    private static func limiter() -> InFlightLimiter {
        InFlightLimiter(maximumCount: 4, maximumBytes: 100, accountCount: 2, accountBytes: 50, overloadReason: "full")
    }

    @Test func accountLeavesRoomToOthers() throws {
        let limiter = Self.limiter()
        try limiter.acquire(bytes: 10, of: "a")
        try limiter.acquire(bytes: 10, of: "a")
        #expect(throws: StoreError.overloaded("full")) { try limiter.acquire(bytes: 1, of: "a") }
        try limiter.acquire(bytes: 10, of: "b")
        limiter.release(bytes: 10, of: "a")
        #expect(throws: StoreError.overloaded("full")) { try limiter.acquire(bytes: 41, of: "a") }
        try limiter.acquire(bytes: 40, of: "a")
        limiter.release(bytes: 40, of: "a")
        limiter.release(bytes: 10, of: "a")
        limiter.release(bytes: 10, of: "b")
        #expect(limiter.isIdle)
    }

    /// Otherwise it could never be made.
    @Test func loneChangeMayExceedTheShareOfBytes() throws {
        let limiter = Self.limiter()
        try limiter.acquire(bytes: 1_000, of: "a")
        #expect(throws: StoreError.overloaded("full")) { try limiter.acquire(bytes: 1, of: "a") }
        limiter.release(bytes: 1_000, of: "a")
        try limiter.acquire(bytes: 50, of: "a")
    }
}
