import Testing

@testable import flowhub

@Suite struct ReconnectPolicyTests {
    /// Always returns the same number. It must not be 0: `Int.random` would loop forever.
    private struct Fixed: RandomNumberGenerator {
        let value: UInt64
        mutating func next() -> UInt64 { self.value }
    }

    /// The delays of a policy with minimal jitter.
    private static func delays(retry milliseconds: Int, attempts: Int, deliveredAfter: Int = .max) -> [Int] {
        var policy = ReconnectPolicy()
        var least = Fixed(value: 1)
        policy.receivedRetry(milliseconds: milliseconds)
        return (0..<attempts).map { attempt in
            if attempt == deliveredAfter { policy.delivered() }
            return policy.nextDelay(using: &least)
        }
    }

    @Test func delayStartsAtRequestedRetryAndDoublesUpToCap() {
        let delays = [1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 1000]
        #expect(Self.delays(retry: 1000, attempts: 8, deliveredAfter: 7) == delays)
    }

    @Test func retryIsCappedAndZeroRetryBacksOff() {
        #expect(Self.delays(retry: 90_000, attempts: 3) == [90_000, 90_000, 90_000])
        #expect(Self.delays(retry: .max, attempts: 1) == [ReconnectPolicy.maximumRetry])
        #expect(Self.delays(retry: 0, attempts: 3) == [0, 500, 1000])
    }

    @Test func jitterAddsUpToOneQuarter() {
        var policy = ReconnectPolicy()
        var generator = SystemRandomNumberGenerator()
        for _ in 0..<200 {
            policy.delivered()
            let delay = policy.nextDelay(using: &generator)
            #expect((2000...2500).contains(delay))
        }
    }
}
