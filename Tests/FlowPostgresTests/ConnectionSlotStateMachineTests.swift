import Testing

@testable import FlowPostgres

/// State machine of a connection slot: scripted events and the expected actions.
@Suite struct ConnectionSlotStateMachineTests {
    private let start = ContinuousClock.now

    private func at(_ milliseconds: Int) -> ContinuousClock.Instant { self.start + .milliseconds(milliseconds) }

    @Test func connectsImmediatelyAndAgainAfterLoss() {
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

    @Test func backoffDoublesUpToLimitWithJitter() {
        var machine = ConnectionSlotStateMachine(now: self.start)
        var now = self.start
        var backoffs: [Duration] = []
        for _ in 0..<10 {
            #expect(machine.tick(now) == .connect)
            machine.connectFailed(now, jitter: 1)
            let wake = machine.wakesAt ?? now
            #expect(machine.tick(wake - .milliseconds(1)) == .none)
            backoffs.append(wake - now)
            now = wake
        }
        let first: [Duration] = [.milliseconds(50), .milliseconds(100), .milliseconds(200), .milliseconds(400)]
        #expect(Array(backoffs[..<4]) == first)
        #expect(backoffs.last == ConnectionSlotStateMachine.maximumBackoff)
        var sooner = ConnectionSlotStateMachine(now: self.start)
        _ = sooner.tick(self.start)
        sooner.connectFailed(self.start, jitter: 0)
        #expect(sooner.wakesAt == self.at(25))
    }

    @Test func failsFastAfterThreeFailures() {
        var machine = ConnectionSlotStateMachine(now: self.start)
        for _ in 0..<ConnectionSlotStateMachine.failFastThreshold {
            #expect(!machine.isFailingFast)
            _ = machine.tick(machine.wakesAt ?? self.start)
            machine.connectFailed(self.start, jitter: 0)
        }
        #expect(machine.isFailingFast)
        _ = machine.tick(machine.wakesAt ?? self.start)
        #expect(machine.isFailingFast)
        let isWanted = machine.connected(self.at(9_000))
        #expect(isWanted)
        #expect(!machine.isFailingFast)
    }

    @Test func backsOffIfServerClosesNewConnections() {
        var machine = ConnectionSlotStateMachine(now: self.start)
        _ = machine.tick(self.start)
        _ = machine.connected(self.start)
        machine.lost(self.at(100), jitter: 1)
        #expect(machine.wakesAt == self.at(150))
    }

    @Test func retriesImmediatelyAfterAnotherSlotConnected() {
        var machine = ConnectionSlotStateMachine(now: self.start)
        for _ in 0..<8 {
            _ = machine.tick(machine.wakesAt ?? self.start)
            machine.connectFailed(self.start, jitter: 1)
        }
        #expect(machine.isFailingFast)
        machine.retryNow(self.at(10))
        #expect(!machine.isFailingFast)
        #expect(machine.tick(self.at(10)) == .connect)
    }

    @Test func closedSlotNeverReconnects() {
        var machine = ConnectionSlotStateMachine(now: self.start)
        _ = machine.tick(self.start)
        machine.close()
        let isWanted = machine.connected(self.at(1))
        #expect(!isWanted)
        machine.lost(self.at(2), jitter: 0)
        machine.connectFailed(self.at(2), jitter: 0)
        #expect(machine.tick(self.at(9_999)) == .none)
        #expect(machine.state == .closed)
        #expect(machine.isFailingFast)
    }
}
