import Testing

@testable import FlowCore

struct LogLimiterTests {
    @Test func countsWhatWasNotLogged() {
        let limiter = LogLimiter(interval: .seconds(10))
        let start = ContinuousClock.now
        #expect(limiter.add(3, now: start) == 3, "the first event is logged at once")
        #expect(limiter.add(2, now: start + .seconds(1)) == nil)
        #expect(limiter.add(now: start + .seconds(9)) == nil)
        #expect(limiter.add(now: start + .seconds(10)) == 4)
        #expect(limiter.add(now: start + .seconds(11)) == nil)
        #expect(limiter.add(now: start + .seconds(100)) == 2)
    }
}
