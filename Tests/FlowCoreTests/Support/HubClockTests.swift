import FlowCore
import Logging
import Synchronization
import Testing

@Suite struct HubClockTests {
    /// The clocks of a machine and of a store, in milliseconds.
    private final class Clocks: Sendable {
        struct State {
            var wall: Int64 = 1_700_000_000_000
            var store: Int64 = 1_700_000_000_000
            var monotonic: Int64 = 5_000
            /// Duration of a read of the store's clock; `nil`: it fails.
            var delay: Int64? = 0
        }

        let state = Mutex(State())

        func pass(_ milliseconds: Int64) {
            self.state.withLock { state in
                state.wall += milliseconds
                state.store += milliseconds
                state.monotonic += milliseconds
            }
        }

        func shift(wall: Int64 = 0, store: Int64 = 0) {
            self.state.withLock { state in
                state.wall += wall
                state.store += store
            }
        }

        func read() throws(StoreError) -> Timestamp {
            guard let delay = self.state.withLock({ $0.delay }) else { throw .unavailable("test") }
            self.pass(delay)
            return Timestamp(milliseconds: self.state.withLock { $0.store } - delay / 2)
        }

        func makeClock() -> HubClock {
            HubClock(
                wall: { Timestamp(milliseconds: self.state.withLock { $0.wall }) },
                monotonic: { self.state.withLock { $0.monotonic } },
                reference: { () async throws(StoreError) in try self.read() }, logger: Logger(label: "test"))
        }

        var storeTime: Int64 { self.state.withLock { $0.store } }
    }

    private static let day: Int64 = 86_400_000

    @Test(arguments: [0, 3_600_000, -3_600_000, 2_592_000_000, -2_592_000_000] as [Int64])
    func followsTheStoresClock(_ shift: Int64) async {
        let clocks = Clocks()
        clocks.shift(wall: shift)
        let clock = clocks.makeClock()
        #expect(clock.now().milliseconds == clocks.storeTime + shift)
        let time = await clock.compare()
        #expect(clock.now().milliseconds == clocks.storeTime)
        #expect(clock.difference == shift)
        #expect(clock.differs == (shift != 0))
        // Nothing may be removed while the clocks differ.
        #expect(time?.milliseconds == (shift == 0 ? clocks.storeTime : nil))
    }

    @Test func aCorrectedClockAgreesAgain() async {
        let clocks = Clocks()
        clocks.shift(wall: Self.day)
        let clock = clocks.makeClock()
        #expect(await clock.compare() == nil)
        clocks.shift(wall: -Self.day)
        #expect(await clock.compare()?.milliseconds == clocks.storeTime)
        #expect(!clock.differs)
    }

    @Test func aJumpOfTheWallClockDoesNotChangeTheTime() async {
        let clocks = Clocks()
        let clock = clocks.makeClock()
        await clock.compare()
        clocks.shift(wall: 30 * Self.day)
        #expect(clock.now().milliseconds == clocks.storeTime)
        #expect(await clock.compare() == nil)
        #expect(clock.now().milliseconds == clocks.storeTime)
    }

    @Test(arguments: [3_600_000, -3_600_000, 2_592_000_000] as [Int64])
    func aJumpOfTheStoresClockIsFollowedLate(_ jump: Int64) async {
        let clocks = Clocks()
        let clock = clocks.makeClock()
        await clock.compare()
        // The wall clock is the embedded store's clock: both jump.
        clocks.shift(wall: jump, store: jump)
        #expect(await clock.compare() == nil)
        #expect(clock.now().milliseconds == clocks.storeTime - jump)
        #expect(clock.difference == -jump)
        clocks.pass(HubClock.jumpSeconds * 1_000 - 1)
        #expect(await clock.compare() == nil)
        clocks.pass(1)
        #expect(await clock.compare()?.milliseconds == clocks.storeTime)
        #expect(clock.now().milliseconds == clocks.storeTime)
    }

    @Test func aJumpThatIsTakenBackIsForgotten() async {
        let clocks = Clocks()
        let clock = clocks.makeClock()
        await clock.compare()
        clocks.shift(wall: Self.day, store: Self.day)
        #expect(await clock.compare() == nil)
        clocks.pass(HubClock.jumpSeconds * 1_000 - 1)
        clocks.shift(wall: -Self.day, store: -Self.day)
        #expect(await clock.compare()?.milliseconds == clocks.storeTime)
        clocks.shift(wall: Self.day, store: Self.day)
        clocks.pass(1)
        #expect(await clock.compare() == nil)
    }

    @Test func smallDifferencesAreFollowedAtOnce() async {
        let clocks = Clocks()
        let clock = clocks.makeClock()
        await clock.compare()
        clocks.shift(store: HubClock.tolerance)
        #expect(await clock.compare()?.milliseconds == clocks.storeTime)
        #expect(clock.now().milliseconds == clocks.storeTime)
    }

    @Test func withoutTheStoresClockTheTimePassesAndNothingIsRemoved() async {
        let clocks = Clocks()
        let clock = clocks.makeClock()
        await clock.compare()
        clocks.state.withLock { $0.delay = nil }
        clocks.pass(60_000)
        #expect(await clock.compare() == nil)
        #expect(clock.now().milliseconds == clocks.storeTime)
        #expect(!clock.differs)
        // An answer that took long tells too little.
        clocks.state.withLock { $0.delay = HubClock.tolerance + 1 }
        #expect(await clock.compare() == nil)
        clocks.state.withLock { $0.delay = HubClock.tolerance }
        #expect(await clock.compare() != nil)
    }
}
