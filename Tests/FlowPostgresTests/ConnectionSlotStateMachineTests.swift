import Testing

@testable import FlowPostgres

/// The life of a connection's place, as scripts of what happens and what is to be done.
@Suite struct ConnectionSlotStateMachineTests {
    private let start = ContinuousClock.now

    private func at(_ milliseconds: Int) -> ContinuousClock.Instant { self.start + .milliseconds(milliseconds) }

    @Test func it_connects_at_once_and_again_at_once_after_a_loss() {
        var machine = ConnectionSlotStateMachine(now: self.start)
        #expect(machine.tick(self.start) == .connect)
        #expect(machine.tick(self.at(10)) == .none)
        let isWanted = machine.connected(self.at(20))
        #expect(isWanted)
        #expect(machine.tick(self.at(5_000)) == .none)
        machine.lost(self.at(5_000), jitter: 1)
        #expect(machine.wakesAt == self.at(5_000))
        #expect(machine.tick(self.at(5_000)) == .connect)
    }

    @Test func pauses_grow_to_a_bound_and_are_spread() {
        var machine = ConnectionSlotStateMachine(now: self.start)
        var now = self.start
        var pauses: [Duration] = []
        for _ in 0..<10 {
            #expect(machine.tick(now) == .connect)
            machine.connectFailed(now, jitter: 1)
            let wake = machine.wakesAt ?? now
            #expect(machine.tick(wake - .milliseconds(1)) == .none)
            pauses.append(wake - now)
            now = wake
        }
        let first: [Duration] = [.milliseconds(50), .milliseconds(100), .milliseconds(200), .milliseconds(400)]
        #expect(Array(pauses[..<4]) == first)
        #expect(pauses.last == ConnectionSlotStateMachine.longestPause)
        var sooner = ConnectionSlotStateMachine(now: self.start)
        _ = sooner.tick(self.start)
        sooner.connectFailed(self.start, jitter: 0)
        #expect(sooner.wakesAt == self.at(25))
    }

    @Test func waiting_is_hopeless_after_some_failures_and_not_before() {
        var machine = ConnectionSlotStateMachine(now: self.start)
        for _ in 0..<ConnectionSlotStateMachine.hopelessFailures {
            #expect(!machine.isHopeless)
            _ = machine.tick(machine.wakesAt ?? self.start)
            machine.connectFailed(self.start, jitter: 0)
        }
        #expect(machine.isHopeless)
        _ = machine.tick(machine.wakesAt ?? self.start)
        #expect(machine.isHopeless)
        let isWanted = machine.connected(self.at(9_000))
        #expect(isWanted)
        #expect(!machine.isHopeless)
    }

    @Test func a_server_that_throws_everybody_out_is_not_stormed() {
        var machine = ConnectionSlotStateMachine(now: self.start)
        _ = machine.tick(self.start)
        _ = machine.connected(self.start)
        machine.lost(self.at(100), jitter: 1)
        #expect(machine.wakesAt == self.at(150))
    }

    @Test func it_does_not_wait_once_another_place_has_reached_the_server() {
        var machine = ConnectionSlotStateMachine(now: self.start)
        for _ in 0..<8 {
            _ = machine.tick(machine.wakesAt ?? self.start)
            machine.connectFailed(self.start, jitter: 1)
        }
        #expect(machine.isHopeless)
        machine.serverIsThere(self.at(10))
        #expect(!machine.isHopeless)
        #expect(machine.tick(self.at(10)) == .connect)
    }

    @Test func nothing_happens_after_the_end() {
        var machine = ConnectionSlotStateMachine(now: self.start)
        _ = machine.tick(self.start)
        machine.close()
        let isWanted = machine.connected(self.at(1))
        #expect(!isWanted)
        machine.lost(self.at(2), jitter: 0)
        machine.connectFailed(self.at(2), jitter: 0)
        #expect(machine.tick(self.at(9_999)) == .none)
        #expect(machine.state == .closed)
        #expect(machine.isHopeless)
    }
}
